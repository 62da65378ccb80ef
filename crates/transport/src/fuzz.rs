//! Doors for the fuzzer to decoders that only this crate calls. No part of the interface.

use covenant_types::{BootEpoch, NodeId, NodeName};
use covenant_wire::{decode, encode};

use crate::hello::Hello;
use crate::join::{ANSWER_BYTES_MAX, JoinAnswer, JoinRefusal, JoinRequest, REQUEST_BYTES_MAX};

/// The first words on a connection.
pub fn fuzz_hello(bytes: &[u8]) {
    if let Ok(hello) = Hello::from_bytes(bytes) {
        assert_eq!(Hello::from_bytes(&hello.to_bytes()), Ok(hello), "a hello is read as it was said");
    }
}

/// Hellos as nodes say them.
pub fn hello_seeds() -> Vec<Vec<u8>> {
    let hello = Hello {
        cluster: "demo".into(),
        id: NodeId([1; 16]),
        name: NodeName::new("hub-africa").expect("a name"),
        epoch: BootEpoch(7),
        listen: "127.0.0.1:4000".parse().expect("an address"),
        dial: 3,
        instance: 9,
    };
    let v6 = Hello { listen: "[2001:db8::1]:7700".parse().expect("an address"), dial: u64::MAX, ..hello.clone() };
    vec![hello.to_bytes(), v6.to_bytes()]
}

/// What a joiner asks.
pub fn fuzz_join_request(bytes: &[u8]) {
    if let Ok(request) = decode::<JoinRequest>(bytes, REQUEST_BYTES_MAX) {
        let written = encode(&request);
        let read: JoinRequest = decode(&written, REQUEST_BYTES_MAX).expect("a request is read as it was written");
        assert_eq!(encode(&read), written);
    }
}

/// Requests with little in them: what they carry has targets of its own.
pub fn join_request_seeds() -> Vec<Vec<u8>> {
    let redeem = JoinRequest::Redeem { token_id: [1; 16], secret: [2; 32], csr: vec![0x30; 40] };
    let renew = JoinRequest::Renew { chain: vec![vec![0x30; 60], vec![0x30; 20]], csr: vec![0x30; 40] };
    vec![encode(&redeem), encode(&renew), encode(&JoinRequest::Time)]
}

/// What a joiner gets.
pub fn fuzz_join_answer(bytes: &[u8]) {
    let read = |bytes: &[u8]| decode::<Result<JoinAnswer, JoinRefusal>>(bytes, ANSWER_BYTES_MAX);
    if let Ok(answer) = read(bytes) {
        assert_eq!(read(&encode(&answer)), Ok(answer), "an answer is read as it was written");
    }
}

/// An answer and refusals.
pub fn join_answer_seeds() -> Vec<Vec<u8>> {
    let name = NodeName::new("hub-africa").expect("a name");
    let seed = (name.clone(), NodeId([3; 16]), "127.0.0.1:4000".parse().expect("an address"));
    let chain = vec![vec![0x30; 50], vec![0x30; 20]];
    let answer = JoinAnswer { chain, cluster: "demo".into(), seeds: vec![seed], book_home: name, roots: Vec::new() };
    let refusals = [
        JoinRefusal::UsedToken,
        JoinRefusal::BadRequest("it is empty".into()),
        JoinRefusal::TooManyAttempts { retry_after: std::time::Duration::from_millis(1500) },
    ];
    let refused = refusals.map(|refusal| encode(&Err::<JoinAnswer, _>(refusal)));
    std::iter::once(encode(&Ok::<_, JoinRefusal>(answer))).chain(refused).collect()
}
