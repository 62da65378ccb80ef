//! The issuing side: one request per connection, limited in size, time and number.

use std::sync::{Arc, Mutex, PoisonError};

use covenant_env::Env;
use covenant_wire::{decode, encode};
use quinn::{Connection, ReadToEndError, RecvStream, SendStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{AttemptLimit, Issuer, JOIN_DEADLINE, JoinAnswer, JoinRefusal, JoinRequest, REQUEST_BYTES_MAX};
use crate::CloseCode;
use crate::counters::Counters;
use crate::greeting::{lost, turn_away};
use crate::hello::Refusal;

/// Answers those who have no certificate yet.
pub(crate) struct JoinService {
    issuer: Option<Arc<dyn Issuer>>,
    env: Env,
    counters: Arc<Counters>,
    limit: Mutex<AttemptLimit>,
    under_way: Semaphore,
}

impl JoinService {
    pub(crate) fn new(issuer: Option<Arc<dyn Issuer>>, env: Env, counters: Arc<Counters>) -> Self {
        Self { issuer, env, counters, limit: Mutex::default(), under_way: Semaphore::new(JOINS_MAX) }
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
        let result = self.decide(request, connection).await;
        self.counters.join(if result.is_ok() { "admitted" } else { "refused" });
        send.write_all(&encode(&result)).await.map_err(|_| lost())?;
        let _ended = send.finish();
        // The peer has it all, or has gone.
        let _heard = send.stopped().await;
        Ok(result.is_ok())
    }

    async fn decide(&self, request: JoinRequest, connection: &Connection) -> Result<JoinAnswer, JoinRefusal> {
        let Some(issuer) = &self.issuer else {
            return Err(JoinRefusal::NotAnIssuer);
        };
        let from = connection.remote_address().ip();
        if let Err(retry_after) = self.limit().check(from, self.env.now()) {
            return Err(JoinRefusal::TooManyAttempts { retry_after });
        }
        let result = issuer.handle(request, from).await;
        if let Err(refusal) = &result {
            tracing::info!(%from, %refusal, "joiner refused");
            self.limit().record_failure(from, self.env.now());
        }
        result
    }

    fn limit(&self) -> std::sync::MutexGuard<'_, AttemptLimit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most requests handled at a time; others wait, within their deadline.
const JOINS_MAX: usize = 8;
