//! Authorities that sign certificates and end soon, or have ended, as the watcher is told of them.
//!
//! Each node looks at its own authority and at the one that signed its certificate, so that it is an incident where the
//! authority is and where it will be missed.

use std::sync::Arc;

use covenant_env::Env;
use covenant_identity::authority_ends;
use covenant_transport::NodeCredentials;
use covenant_types::{NodeName, WallTime};
use covenant_watch::{IncidentKind, Told};

use crate::doctor::ISSUING_SOON;
use crate::issuer::HubIssuer;

/// When the authorities end that one node looks at.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    /// Its own.
    own: Option<WallTime>,
    /// The one that signed its certificate, where that is another.
    signer: Option<WallTime>,
}

/// Looks anew each time it is called: authorities change while a node runs.
pub(crate) fn watched(
    me: NodeName,
    desk: Arc<HubIssuer>,
    credentials: Arc<NodeCredentials>,
    env: Env,
) -> impl Fn() -> Told {
    move || {
        let own = desk.any_authority();
        let chain = credentials.chain();
        let is_own = |signer: &&Vec<u8>| own.as_ref().is_some_and(|own| own.certificate() == signer.as_slice());
        let signer = chain.get(1).filter(|signer| !is_own(signer)).and_then(|signer| authority_ends(signer).ok());
        let ends = Ends { own: own.as_ref().map(|authority| authority.not_after()), signer };
        Told { kind: IncidentKind::Authority, wrong: troubled(&me, ends, env.wall()), over: "another is in its place" }
    }
}

fn troubled(me: &NodeName, ends: Ends, now: WallTime) -> Vec<(String, String)> {
    let word = |ends: WallTime| match ends.0.saturating_sub(now.0) {
        0 => Some("has ended"),
        left if left < ISSUING_SOON.as_secs() => Some("ends within 7 days"),
        _ => None,
    };
    let own = ends.own.and_then(word).map(|word| {
        let what = "its node renews and admits nobody once it has ended";
        let cure = format!("with the root's key: covenant ca issue {me} --root-key FILE; the node need not restart");
        (me.to_string(), format!("its issuing authority {word}, and {what}: {cure}"))
    });
    let signer = ends.signer.and_then(word).map(|word| {
        let cure = "covenant ca issue HUB --root-key FILE for the hub that has it, then covenant cert rotate here";
        (format!("signer of {me}"), format!("the authority that signed this node's certificate {word}: {cure}"))
    });
    own.into_iter().chain(signer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn an_authority_that_ends_soon_or_has_ended_is_told_of_with_what_to_do() {
        let me = NodeName::new("hub-africa").unwrap();
        let now = WallTime(1_790_000_000);
        let at = |days: u64| Some(WallTime(now.0 + days * DAY));
        assert_eq!(troubled(&me, Ends { own: at(8), signer: at(30) }, now), []);
        assert_eq!(troubled(&me, Ends::default(), now), []);
        let soon = troubled(&me, Ends { own: at(6), signer: None }, now);
        let later = troubled(&me, Ends { own: at(5), signer: None }, now);
        assert_eq!(soon, later, "a day more is no news");
        let [(subject, what)] = &soon[..] else { panic!("{soon:?}") };
        assert!(subject == "hub-africa" && what.contains("ends within 7 days"), "{what}");
        assert!(what.contains("covenant ca issue hub-africa --root-key FILE"), "{what}");
        let ended = troubled(&me, Ends { own: Some(now), signer: at(0) }, now);
        assert_eq!(ended.len(), 2);
        assert!(ended.iter().all(|(_, what)| what.contains("has ended")), "{ended:?}");
        assert!(ended.iter().all(|(_, what)| what.chars().count() <= 240), "none is cut: {ended:?}");
    }
}
