//! The issuing side: one request per connection, limited in size, time and number.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covenant_env::Env;
use covenant_types::WallTime;
use covenant_wire::{decode, encode};
use quinn::{Connection, ReadToEndError, RecvStream, SendStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{
    AttemptLimit, FAILURES_MAX, Issuer, JOIN_DEADLINE, JoinAnswer, JoinRefusal, JoinRequest, REQUEST_BYTES_MAX,
    REQUESTS_MAX,
};
use crate::CloseCode;
use crate::counters::Counters;
use crate::greeting::{lost, turn_away};
use crate::hello::Refusal;

/// Answers those who have no certificate yet.
pub(crate) struct JoinService {
    issuer: Option<Arc<dyn Issuer>>,
    env: Env,
    counters: Arc<Counters>,
    /// Attempts that failed. A token that is redeemed costs nothing: it is used up.
    failures: Mutex<AttemptLimit>,
    /// Attempts that can be made again and again.
    requests: Mutex<AttemptLimit>,
    under_way: Semaphore,
}

impl JoinService {
    pub(crate) fn new(issuer: Option<Arc<dyn Issuer>>, env: Env, counters: Arc<Counters>) -> Self {
        let [failures, requests] = [FAILURES_MAX, REQUESTS_MAX].map(|most| Mutex::new(AttemptLimit::new(most)));
        Self { issuer, env, counters, failures, requests, under_way: Semaphore::new(JOINS_MAX) }
    }

    /// Serves one connection to its end. Returns whether it got what it asked for.
    pub(crate) async fn serve(&self, connection: Connection) -> bool {
        let served = match timeout(JOIN_DEADLINE, self.request(&connection)).await {
            Ok(served) => served,
            Err(_) => {
                let refusal = Refusal::new(CloseCode::TooSlow, "the request took too long");
                turn_away(&connection, &refusal);
                Err(refusal)
            }
        };
        if let Err(refusal) = &served {
            tracing::info!(from = %connection.remote_address(), code = %refusal.code, reason = refusal.reason, "joiner refused");
            self.counters.join(refusal.code.as_str());
        }
        served.unwrap_or(false)
    }

    async fn request(&self, connection: &Connection) -> Result<bool, Refusal> {
        let _place = self.under_way.acquire().await.map_err(|_| Refusal::new(CloseCode::Leaving, "stopping"))?;
        let (mut send, mut recv) = connection.accept_bi().await.map_err(|_| lost())?;
        let answered = self.request_on(connection, &mut send, &mut recv).await;
        // Closed before the streams are dropped: frames that say so would queue in front of the refusal.
        match &answered {
            Ok(_) => connection.close(CloseCode::Done.var_int(), b""),
            Err(refusal) => turn_away(connection, refusal),
        }
        answered
    }

    async fn request_on(
        &self,
        connection: &Connection,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<bool, Refusal> {
        let bytes = match recv.read_to_end(REQUEST_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(ReadToEndError::TooLong) => {
                let reason = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
                return Err(Refusal::new(CloseCode::TooLarge, reason));
            }
            Err(ReadToEndError::Read(_)) => return Err(lost()),
        };
        let request: JoinRequest = decode(&bytes, REQUEST_BYTES_MAX)
            .map_err(|error| Refusal::new(CloseCode::Malformed, format!("request: {error}")))?;
        let (answer, granted, word) = match request {
            JoinRequest::Time => {
                let time = self.time(connection);
                (encode(&time), time.is_ok(), "time")
            }
            JoinRequest::Redeem { .. } | JoinRequest::Renew { .. } => {
                let result = self.decide(request, connection).await;
                (encode(&result), result.is_ok(), "admitted")
            }
        };
        self.counters.join(if granted { word } else { "refused" });
        send.write_all(&answer).await.map_err(|_| lost())?;
        let _ended = send.finish();
        // The peer has it all, or has gone.
        let _heard = send.stopped().await;
        Ok(granted)
    }

    async fn decide(&self, request: JoinRequest, connection: &Connection) -> Result<JoinAnswer, JoinRefusal> {
        let Some(issuer) = &self.issuer else {
            return Err(JoinRefusal::NotAnIssuer);
        };
        let from = connection.remote_address().ip();
        lock(&self.failures).check(from, self.env.now()).map_err(too_many)?;
        if matches!(request, JoinRequest::Renew { .. }) {
            self.count_request(from)?;
        }
        let result = issuer.handle(request, from).await;
        if let Err(refusal) = &result {
            tracing::info!(%from, %refusal, "joiner refused");
            lock(&self.failures).record(from, self.env.now());
        }
        result
    }

    fn time(&self, connection: &Connection) -> Result<WallTime, JoinRefusal> {
        let issuer = self.issuer.as_ref().ok_or(JoinRefusal::NotAnIssuer)?;
        self.count_request(connection.remote_address().ip())?;
        issuer.time()
    }

    /// Refuses what is one too many, and counts what is not.
    fn count_request(&self, from: IpAddr) -> Result<(), JoinRefusal> {
        let now = self.env.now();
        let mut requests = lock(&self.requests);
        requests.check(from, now).map_err(too_many)?;
        requests.record(from, now);
        Ok(())
    }
}

fn too_many(retry_after: Duration) -> JoinRefusal {
    JoinRefusal::TooManyAttempts { retry_after }
}

fn lock(limit: &Mutex<AttemptLimit>) -> MutexGuard<'_, AttemptLimit> {
    limit.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most requests handled at a time; others wait, within their deadline.
const JOINS_MAX: usize = 8;
