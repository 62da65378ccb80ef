//! What a client's frame may do: pure.
//!
//! # Intuition
//! The gate reads both directions of a session. Of what the client sends it lets pass what the handshake needs, answers pings
//! itself, takes messages to members out, and leaves all else: announcements of the client's own actors and groups,
//! questions about other clients, replies that nobody waits for.
//!
//! # Invariants
//! - What goes on to `NodeServer` has a bound over the whole session: three messages of the handshake, one `Ready`, and as
//!   many pongs as it sent pings.
//! - Nothing is taken for a member before `NodeServer` has accepted the client's proof of the cookie.
//! - The name that passes is the certificate's.

use std::time::Duration;

use covenant_types::NodeName;
use prost::Message;
use ractor::message::SerializedMessage;

use crate::refusal::Refusal;
use crate::wire::{Auth, Call, Cast, Control, NetworkMessage, Plane, Stamp, ToActor};

/// One session as its frames have made it.
pub(crate) struct Gate {
    /// Whom the certificate names.
    client: NodeName,
    named: bool,
    status_told: bool,
    challenged: bool,
    admitted: bool,
    ready: bool,
    /// Pings of `NodeServer` that were not answered yet.
    pings: u32,
}

/// What to do with a frame of the client's.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Hand it to `NodeServer`, in these words.
    Pass(NetworkMessage),
    /// Answer it with this.
    Answer(NetworkMessage),
    /// Give it to a member.
    Deliver(Delivery),
    /// Nothing; it was one of these.
    Leave(&'static str),
}

/// A message to a member.
#[derive(Debug, PartialEq)]
pub(crate) struct Delivery {
    /// The member's pid.
    pub(crate) to: u64,
    pub(crate) variant: String,
    pub(crate) args: Vec<u8>,
    pub(crate) metadata: Option<Vec<u8>>,
    /// What the reply is to name, where one is waited for.
    pub(crate) call: Option<Tag>,
}

/// A call, as the client tells its calls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) tag: u64,
    pub(crate) within: Option<Duration>,
}

impl Delivery {
    /// As ractor decodes it. `reply` is used where this is a call.
    pub(crate) fn into_serialized(self, reply: ractor::RpcReplyPort<Vec<u8>>) -> SerializedMessage {
        let Self { variant, args, metadata, call, .. } = self;
        match call {
            Some(_) => SerializedMessage::Call { variant, args, reply, metadata },
            None => SerializedMessage::Cast { variant, args, metadata },
        }
    }
}

impl Gate {
    /// The gate of the client that its certificate calls `client`.
    pub(crate) fn new(client: NodeName) -> Self {
        let (named, status_told, challenged, admitted, ready, pings) = (false, false, false, false, false, 0);
        Self { client, named, status_told, challenged, admitted, ready, pings }
    }

    /// Whether the handshake has come to its end.
    pub(crate) fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// Decides about a frame that the client sent.
    ///
    /// # Errors
    /// The session must end.
    pub(crate) fn client_sent(&mut self, frame: &[u8]) -> Result<Verdict, Refusal> {
        let message = NetworkMessage::decode(frame).map_err(|error| Refusal::Malformed(error.to_string()))?;
        match message.plane {
            Some(Plane::Auth(auth)) => self.auth(auth.auth),
            Some(Plane::Control(control)) => self.control(control.control),
            Some(Plane::Node(node)) => self.to_actor(node.message),
            None => Ok(Verdict::Leave("empty")),
        }
    }

    /// Takes note of a frame that `NodeServer` sends.
    pub(crate) fn server_sent(&mut self, frame: &[u8]) {
        match NetworkMessage::decode(frame).ok().and_then(|message| message.plane) {
            Some(Plane::Auth(auth)) => self.admitted |= matches!(auth.auth, Some(Auth::ServerAck(_))),
            Some(Plane::Control(control)) if matches!(control.control, Some(Control::Ping(_))) => {
                self.pings = self.pings.saturating_add(1);
            }
            Some(Plane::Control(_) | Plane::Node(_)) | None => {}
        }
    }

    fn auth(&mut self, auth: Option<Auth>) -> Result<Verdict, Refusal> {
        let (step, auth) = match auth {
            Some(Auth::Name(name)) => {
                let said = name.name.split('@').next().unwrap_or_default();
                if said != self.client.as_str() {
                    let said = said.chars().take(64).collect();
                    return Err(Refusal::OtherName { said, certified: self.client.clone() });
                }
                (&mut self.named, Auth::Name(name))
            }
            Some(Auth::ClientStatus(status)) => (&mut self.status_told, Auth::ClientStatus(status)),
            Some(Auth::ClientChallenge(challenge)) => (&mut self.challenged, Auth::ClientChallenge(challenge)),
            Some(Auth::ServerStatus(_) | Auth::ServerChallenge(_) | Auth::ServerAck(_)) => {
                return Err(Refusal::Malformed("it speaks as a server".to_owned()));
            }
            None => return Ok(Verdict::Leave("empty")),
        };
        if std::mem::replace(step, true) {
            return Err(Refusal::Malformed("a step of the handshake came twice".to_owned()));
        }
        Ok(Verdict::Pass(NetworkMessage::auth(auth)))
    }

    fn control(&mut self, control: Option<Control>) -> Result<Verdict, Refusal> {
        Ok(match control {
            Some(Control::Ping(Stamp { timestamp })) => {
                Verdict::Answer(NetworkMessage::control(Control::Pong(Stamp { timestamp })))
            }
            Some(Control::Pong(stamp)) if self.pings > 0 => {
                self.pings -= 1;
                Verdict::Pass(NetworkMessage::control(Control::Pong(stamp)))
            }
            Some(Control::Pong(_)) => Verdict::Leave("pong"),
            Some(Control::Ready(ready)) if !std::mem::replace(&mut self.ready, true) => {
                Verdict::Pass(NetworkMessage::control(Control::Ready(ready)))
            }
            Some(Control::Ready(_)) => Verdict::Leave("ready"),
            Some(Control::Spawn(_) | Control::Terminate(_)) => Verdict::Leave("actors"),
            Some(Control::PgJoin(_) | Control::PgLeave(_)) => Verdict::Leave("groups"),
            Some(Control::EnumerateNodeSessions(_) | Control::NodeSessions(_)) => Verdict::Leave("sessions"),
            None => Verdict::Leave("empty"),
        })
    }

    fn to_actor(&self, message: Option<ToActor>) -> Result<Verdict, Refusal> {
        if !self.admitted {
            return Err(Refusal::Malformed("a message came before the handshake was over".to_owned()));
        }
        Ok(match message {
            Some(ToActor::Cast(Cast { to, what, variant, metadata })) => {
                Verdict::Deliver(Delivery { to, variant, args: what, metadata, call: None })
            }
            Some(ToActor::Call(Call { to, what, tag, timeout_ms, variant, metadata })) => {
                let call = Some(Tag { tag, within: timeout_ms.map(Duration::from_millis) });
                Verdict::Deliver(Delivery { to, variant, args: what, metadata, call })
            }
            Some(ToActor::Reply(_)) => Verdict::Leave("reply"),
            None => Verdict::Leave("empty"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClientChallenge, ClientStatus, Name, Ready, Reply};

    fn gate() -> Gate {
        Gate::new(NodeName::new("tower-edge").unwrap())
    }

    fn bytes(message: &NetworkMessage) -> Vec<u8> {
        message.encode_to_vec()
    }

    fn named(name: &str) -> NetworkMessage {
        let connection_string = "edge:1".to_owned();
        NetworkMessage::auth(Auth::Name(Name {
            name: name.to_owned(),
            flags: None,
            connection_string,
            connection_id: 4,
        }))
    }

    fn admitted() -> Gate {
        let mut gate = gate();
        gate.server_sent(&bytes(&NetworkMessage::auth(Auth::ServerAck(vec![]))));
        gate
    }

    fn left(gate: &mut Gate, control: Control) -> &'static str {
        match gate.client_sent(&bytes(&NetworkMessage::control(control))) {
            Ok(Verdict::Leave(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_handshake_passes_as_it_is_and_each_step_once() {
        let mut gate = gate();
        let challenge = ClientChallenge { challenge: 7, digest: vec![1; 32] };
        let steps = [
            named("tower-edge@laptop"),
            NetworkMessage::auth(Auth::ClientStatus(ClientStatus { status: true })),
            NetworkMessage::auth(Auth::ClientChallenge(challenge)),
        ];
        for step in steps {
            assert_eq!(gate.client_sent(&bytes(&step)).unwrap(), Verdict::Pass(step.clone()));
            assert!(matches!(gate.client_sent(&bytes(&step)), Err(Refusal::Malformed(_))));
        }
    }

    #[test]
    fn a_client_goes_by_the_name_in_its_certificate() {
        for name in ["tower-other@laptop", "", "tower-edge2@x"] {
            let refused = gate().client_sent(&bytes(&named(name))).unwrap_err();
            assert!(matches!(refused, Refusal::OtherName { .. }), "{refused}");
        }
    }

    #[test]
    fn nobody_reaches_a_member_before_the_handshake_is_over() {
        let cast = Cast { to: 1, what: vec![], variant: "Add".into(), metadata: None };
        let cast = bytes(&NetworkMessage::to_actor(ToActor::Cast(cast)));
        assert!(matches!(gate().client_sent(&cast), Err(Refusal::Malformed(_))));
        assert!(matches!(admitted().client_sent(&cast), Ok(Verdict::Deliver(Delivery { to: 1, call: None, .. }))));
    }

    #[test]
    fn a_call_keeps_its_tag_and_its_time() {
        let call = Call { to: 2, what: vec![5], tag: 9, timeout_ms: Some(30), variant: "Get".into(), metadata: None };
        let call = bytes(&NetworkMessage::to_actor(ToActor::Call(call)));
        let Ok(Verdict::Deliver(delivery)) = admitted().client_sent(&call) else { panic!("not delivered") };
        assert_eq!(delivery.call, Some(Tag { tag: 9, within: Some(Duration::from_millis(30)) }));
    }

    #[test]
    fn what_a_client_announces_asks_or_replies_unasked_is_left() {
        let mut gate = admitted();
        assert_eq!(left(&mut gate, Control::Spawn(vec![])), "actors");
        assert_eq!(left(&mut gate, Control::Terminate(vec![])), "actors");
        assert_eq!(left(&mut gate, Control::PgJoin(vec![])), "groups");
        assert_eq!(left(&mut gate, Control::EnumerateNodeSessions(vec![])), "sessions");
        let reply = NetworkMessage::to_actor(ToActor::Reply(Reply { to: 1, tag: 1, what: vec![] }));
        assert_eq!(gate.client_sent(&bytes(&reply)).unwrap(), Verdict::Leave("reply"));
    }

    #[test]
    fn pings_are_answered_here_and_pongs_pass_once_for_each_ping() {
        let mut gate = admitted();
        let stamp = Stamp { timestamp: None };
        let ping = NetworkMessage::control(Control::Ping(stamp.clone()));
        let pong = NetworkMessage::control(Control::Pong(stamp.clone()));
        assert_eq!(gate.client_sent(&bytes(&ping)).unwrap(), Verdict::Answer(pong.clone()));
        assert_eq!(left(&mut gate, Control::Pong(stamp.clone())), "pong");
        gate.server_sent(&bytes(&ping));
        assert_eq!(gate.client_sent(&bytes(&pong)).unwrap(), Verdict::Pass(pong));
        assert_eq!(left(&mut gate, Control::Pong(stamp)), "pong");
        let ready = NetworkMessage::control(Control::Ready(Ready {}));
        assert!(matches!(gate.client_sent(&bytes(&ready)), Ok(Verdict::Pass(_))));
        assert_eq!(left(&mut gate, Control::Ready(Ready {})), "ready");
    }

    #[test]
    fn a_client_that_speaks_as_a_server_is_closed() {
        let ack = bytes(&NetworkMessage::auth(Auth::ServerAck(vec![])));
        assert!(matches!(gate().client_sent(&ack), Err(Refusal::Malformed(_))));
        assert!(!gate().is_admitted());
    }
}
