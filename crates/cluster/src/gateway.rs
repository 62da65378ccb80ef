//! What the transport tells us, handed to whom it concerns. Everything here returns at once.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use covenant_identity::{Adoption, DenialError, SignedDenial, Taken};
use covenant_transport::{CloseCode, Inbound, Peer, Plane, RecvStream, SendStream};

use crate::conduct::Offence;
use crate::feed::{self, FEED_FRAME_BYTES_MAX, FeedFrame};
use crate::mail;
use crate::presence::frame::Frame;
use crate::record::SignedRecord;
use crate::remoting::receive::{read_messages, read_replies};
use crate::session::Session;
use crate::shared::{Input, Shared};
use crate::ties::desk::read_control;

/// Hears from the transport. Holds on to nothing: the transport holds this.
pub(crate) struct Gateway(pub(crate) Weak<Shared>);

impl Inbound for Gateway {
    fn peer_up(&self, peer: &Peer) {
        if let Some(shared) = self.0.upgrade() {
            tracing::info!(peer = %peer.info().name, epoch = %peer.info().epoch, "connected");
            shared.open_session(peer);
        }
    }

    fn peer_down(&self, peer: &Peer, reason: &str) {
        if let Some(shared) = self.0.upgrade() {
            tracing::info!(peer = %peer.info().name, reason, "disconnected");
            shared.close_session(peer);
        }
    }

    fn datagram(&self, peer: &Peer, bytes: Bytes) {
        let Some(shared) = self.0.upgrade() else { return };
        let Some(session) = shared.session_on(peer) else { return };
        // A full inbox loses datagrams, as a network does, and first of all those of whom fills it.
        let input = session.take_share().map(|share| Input::Datagram { from: peer.info().id, data: bytes, share });
        if input.is_none_or(|input| shared.inbox.try_send(input).is_err()) {
            shared.counters.inbox_dropped.increment(1);
        }
    }

    fn stream(&self, peer: &Peer, plane: Plane, send: SendStream, recv: RecvStream) {
        let Some(shared) = self.0.upgrade() else { return };
        match plane {
            Plane::Bulk => match shared.bulk() {
                Some(handler) => handler.stream(peer, send, recv),
                None => shared.counters.stream_refused("no_handler"),
            },
            Plane::Consensus | Plane::Snapshot => match shared.consensus() {
                Some(take) => take(peer, plane, send, recv),
                None => shared.counters.stream_refused("no_handler"),
            },
            Plane::Control | Plane::Actor | Plane::Reply | Plane::Feed => {
                shared.counters.stream_refused("plane");
                if let Some(session) = shared.session_on(peer) {
                    session.bear(Offence::Crowding);
                }
            }
        }
    }

    fn uni(&self, peer: &Peer, plane: Plane, recv: RecvStream) {
        let Some(shared) = self.0.upgrade() else { return };
        let Some(session) = shared.session_on(peer) else { return };
        let read = Arc::clone(&session);
        let taken = match plane {
            Plane::Actor => session.spawn_reader(plane, read_messages(Arc::clone(&shared), read, recv)),
            Plane::Reply => session.spawn_reader(plane, read_replies(Arc::clone(&shared), read, recv)),
            Plane::Feed => session.spawn_reader(plane, read_feed(Arc::clone(&shared), read, recv)),
            Plane::Control => session.spawn_reader(plane, read_control(Arc::clone(&shared), read, recv)),
            Plane::Bulk | Plane::Consensus | Plane::Snapshot => false,
        };
        if !taken {
            session.bear(Offence::Crowding);
            shared.counters.stream_refused("plane");
        }
    }

    fn doubled(&self, standing: &Peer, refused: &Peer) {
        if let Some(shared) = self.0.upgrade() {
            shared.name_doubled(refused.info().id, &refused.info().name, [standing.address(), refused.address()]);
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

/// Reads a peer's feed stream. Waits while the driver is busy, which holds up nothing but this stream.
async fn read_feed(shared: Arc<Shared>, session: Arc<Session>, mut stream: RecvStream) {
    let from = session.sender.node;
    loop {
        let frame = match stream.read_frame(FEED_FRAME_BYTES_MAX).await {
            Ok(Some(frame)) => frame,
            Err(covenant_transport::StreamError::TooLarge(_)) => {
                return shared.refuse_stream(&session, &mut stream, CloseCode::TooLarge);
            }
            Ok(None) | Err(_) => return,
        };
        // Before it is handled, so that who sends much waits and nobody else does.
        let wait = session.conduct().feed(session.clock.now(), frame.len());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let input = match FeedFrame::parse(&frame) {
            Some(FeedFrame::Members(data)) => Input::Members { from, data: Bytes::copy_from_slice(data) },
            Some(FeedFrame::Datagram(data)) => match session.take_share() {
                Some(share) => Input::Datagram { from, data: Bytes::copy_from_slice(data), share },
                None => {
                    shared.counters.inbox_dropped.increment(1);
                    continue;
                }
            },
            Some(FeedFrame::Digest(digest)) => Input::Digest { from, digest },
            Some(FeedFrame::Summary { answer, buckets }) => Input::Summary { from, answer, buckets },
            Some(FeedFrame::Seek { target, asker }) => Input::Seek { from, target, asker },
            Some(FeedFrame::Letter(letter)) => {
                mail::arrived(&shared, &session, letter);
                continue;
            }
            Some(FeedFrame::Delivered(id)) => {
                mail::delivered(&shared, &session, id);
                continue;
            }
            Some(FeedFrame::Roots(statements)) => {
                if !adopt_roots(&shared, &session, statements) {
                    return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed);
                }
                continue;
            }
            Some(FeedFrame::Heard(sequence)) => {
                session.heard.fetch_max(sequence, Ordering::Relaxed);
                shared.heard.notify_one();
                continue;
            }
            Some(FeedFrame::Presence(frame)) => match Frame::parse(frame) {
                Some(frame) => match shared.presence.take(&session, frame).await {
                    true => continue,
                    false => return,
                },
                None => return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed),
            },
            Some(FeedFrame::Types(types)) => {
                session.schemas.told(types);
                shared.compare_schemas(&session, &shared.declared());
                continue;
            }
            Some(FeedFrame::Denied(digest)) => {
                let list = shared.credentials.denials().list();
                if list.digest() != digest {
                    let all: Vec<_> = list.iter().cloned().collect();
                    feed::denials(&all).into_iter().for_each(|frame| shared.send_feed(&session, frame));
                }
                continue;
            }
            Some(FeedFrame::Denials(denials)) => {
                if !denials.into_iter().all(|bytes| denied(&shared, &session, bytes)) {
                    return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed);
                }
                continue;
            }
            Some(FeedFrame::Records(records)) => {
                let mut news = Vec::new();
                for bytes in records {
                    match checked(&shared, &session, bytes) {
                        Checked::No => continue,
                        Checked::News(signed) => news.push(*signed),
                        Checked::Forged => return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed),
                    }
                    // A signature takes long enough that many in a row would keep timers, and so probes, from their turn.
                    tokio::task::yield_now().await;
                }
                if news.is_empty() {
                    continue;
                }
                Input::Records { from, records: news }
            }
            None => return shared.refuse_stream(&session, &mut stream, CloseCode::Malformed),
        };
        let Ok(place) = Arc::clone(&session.fed).acquire_owned().await else { return };
        if shared.inbox.send(Input::Fed(Box::new(input), place)).await.is_err() {
            return;
        }
    }
}

/// Takes in a denial. False where no honest node would have passed it on.
fn denied(shared: &Shared, session: &Session, bytes: &[u8]) -> bool {
    let from = &session.sender.name;
    match SignedDenial::parse(bytes).and_then(|signed| shared.credentials.deny(signed)) {
        // The driver hears of what is new, and passes it on.
        Ok(Taken::New | Taken::Known) => true,
        Ok(Taken::Full) => {
            tracing::error!(%from, "the deny-list is full: somebody who is denied elsewhere is not denied here");
            shared.counters.denial_refused("full");
            true
        }
        // They may trust a root that we do not, or no longer.
        Err(error @ (DenialError::UnknownRoot | DenialError::NotAtThatTime)) => {
            tracing::warn!(%from, %error, "a denial was refused");
            shared.counters.denial_refused("unknown_root");
            true
        }
        Err(error) => {
            tracing::error!(%from, %error, "a member passed on a denial that nobody signed");
            shared.counters.denial_refused("forged");
            false
        }
    }
}

/// Takes in what a peer knows of the cluster's roots; false where it is malformed. The driver notices what is new, and passes
/// it on.
fn adopt_roots(shared: &Shared, session: &Session, statements: &[u8]) -> bool {
    let Some(transport) = shared.transport() else { return true };
    match transport.credentials().adopt_roots(statements) {
        Ok(Adoption::New) => {
            let trusted = transport.credentials().trusted();
            tracing::warn!(from = %session.sender.name, version = trusted.version(), phase = %trusted.phase(), "the cluster's roots are others now");
            true
        }
        Ok(Adoption::Known) => true,
        Ok(Adoption::Refused(why)) => {
            tracing::warn!(from = %session.sender.name, why, "a statement about the cluster's roots was refused");
            shared.counters.record_refused("roots");
            true
        }
        Err(error) => {
            tracing::warn!(from = %session.sender.name, %error, "a statement about the cluster's roots was refused");
            shared.counters.record_refused("roots");
            false
        }
    }
}

/// What became of a record that came.
enum Checked {
    /// It is not kept; its signature was not looked at.
    No,
    /// It is news, and was signed by the node that it names.
    News(Box<SignedRecord>),
    /// Nobody signed it. Each node checks before it passes a record on, so no honest one passed it on.
    Forged,
}

fn checked(shared: &Shared, session: &Session, bytes: &[u8]) -> Checked {
    let Ok(signed) = SignedRecord::parse(bytes) else {
        shared.counters.record_refused("malformed");
        return Checked::No;
    };
    // A signature costs more to check than everything else together.
    if !shared.directory().is_news(&signed) {
        // Its own, that came on another way before: it is heard as well.
        if signed.record.id == session.sender.node {
            shared.send_feed(session, feed::heard(signed.record.sequence));
        }
        return Checked::No;
    }
    if signed.record.id == session.sender.node && !session.conduct().record(session.clock.now()) {
        shared.counters.record_refused("restless");
        return Checked::No;
    }
    let is_stranger = signed.record.id != session.sender.node && shared.directory().record(signed.record.id).is_none();
    if is_stranger && !session.conduct().stranger(session.clock.now()) {
        // Of one that is real the next exchange tells again.
        shared.counters.record_refused("inventing");
        return Checked::No;
    }
    match signed.verify() {
        Ok(()) => Checked::News(Box::new(signed)),
        Err(error) => {
            tracing::error!(from = %session.sender.name, %error, "a member passed on a record that nobody signed");
            shared.counters.record_refused("forged");
            Checked::Forged
        }
    }
}
