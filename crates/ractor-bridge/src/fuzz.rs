//! What a client's bytes can do to the gate.

use bytes::BytesMut;
use covenant_types::NodeName;

use crate::gate::{Gate, Verdict};
use crate::wire::{
    Auth, Call, Cast, ClientChallenge, Control, FRAME_BYTES_MAX, Name, NetworkMessage, Ready, Stamp, Timestamp,
    ToActor, take_frame,
};

/// Cuts a stream into frames, and has the gate of a client whose handshake is over judge each.
pub fn fuzz_gate(bytes: &[u8]) {
    let Ok(client) = NodeName::new(CLIENT) else { return };
    let mut gate = Gate::new(client);
    gate.server_sent(&frame_only(&NetworkMessage::auth(Auth::ServerAck(Vec::new()))));
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(frame)) = take_frame(&mut stream, FRAME_BYTES_MAX) {
        match gate.client_sent(&frame) {
            // What passes is understood again, as the same.
            Ok(Verdict::Pass(message) | Verdict::Answer(message)) => {
                let again = <NetworkMessage as prost::Message>::decode(&*frame_only(&message));
                assert_eq!(again.as_ref(), Ok(&message), "what passes has one meaning");
            }
            Ok(Verdict::Deliver(_) | Verdict::Leave(_)) => {}
            Err(_) => return,
        }
    }
}

/// Streams of well-meaning clients.
pub fn seeds() -> Vec<Vec<u8>> {
    let name = format!("{CLIENT}@laptop");
    let handshake = [
        NetworkMessage::auth(Auth::Name(Name {
            name,
            flags: None,
            connection_string: "laptop:1".into(),
            connection_id: 9,
        })),
        NetworkMessage::auth(Auth::ClientChallenge(ClientChallenge { challenge: 3, digest: vec![7; 32] })),
        NetworkMessage::control(Control::Ready(Ready {})),
    ];
    let stamp = Stamp { timestamp: Some(Timestamp { seconds: 5, nanos: 6 }) };
    let life = [
        NetworkMessage::control(Control::Ping(stamp.clone())),
        NetworkMessage::control(Control::Pong(stamp)),
        NetworkMessage::control(Control::Spawn(vec![10, 2, 8, 1])),
        NetworkMessage::control(Control::PgJoin(vec![10, 1, 97])),
    ];
    let what = vec![0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2];
    let messages = [
        NetworkMessage::to_actor(ToActor::Cast(Cast {
            to: 4,
            what: what.clone(),
            variant: "Add".into(),
            metadata: None,
        })),
        NetworkMessage::to_actor(ToActor::Call(Call {
            to: 4,
            what,
            tag: 1,
            timeout_ms: Some(500),
            variant: "Get".into(),
            metadata: Some(vec![1]),
        })),
    ];
    [&handshake[..], &life, &messages].map(|part| part.iter().flat_map(NetworkMessage::frame).collect()).to_vec()
}

const CLIENT: &str = "tower-edge";

fn frame_only(message: &NetworkMessage) -> Vec<u8> {
    prost::Message::encode_to_vec(message)
}
