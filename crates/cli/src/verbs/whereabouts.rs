//! Where a path, a name or a group lives.

use covenant_cluster::{Found, FoundAs};
use covenant_node::api::ApiError;
use covenant_node::api::whereabouts::{HeldLease, Where, WhereFound};
use covenant_runtime::ActorState;

use crate::args::Global;
use crate::output::{Output, Tone};

/// Asks one node, which asks the others.
pub(crate) async fn locate(global: &Global, what: String, output: &Output) -> Result<(), ApiError> {
    let found: WhereFound = global.client().await?.post("/v1/where", &Where { what }).await?;
    output.view(&found, |output| {
        let WhereFound { whereabouts, held, held_unknown } = &found;
        let rows: Vec<_> = whereabouts.found.iter().map(row).collect();
        let mut text = output.table(&["NODE", "PATH", "AS", "STATE", "INCARNATION", "SEEN"], &rows);
        if whereabouts.unseen > 0 {
            text.push_str(&format!("\nand {} more in other regions", whereabouts.unseen));
        }
        if !whereabouts.silent.is_empty() {
            let silent: Vec<&str> = whereabouts.silent.iter().map(covenant_types::NodeName::as_str).collect();
            text.push_str(&format!("\nnot known of {}: no answer", silent.join(", ")));
        }
        if let Some(held) = held {
            text.push_str(&format!("\n{}", lease(held)));
        }
        if let Some(why) = held_unknown {
            text.push_str(&format!("\nwho holds it is not known: {why}"));
        }
        text
    });
    Ok(())
}

fn lease(held: &HeldLease) -> String {
    let path = held.path.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("held by {}:{path} in boot {}, token {}", held.node, held.boot, held.token)
}

fn row(found: &Found) -> Vec<(Tone, String)> {
    let found_as = match found.found_as {
        FoundAs::Path => "path",
        FoundAs::Name => "name",
        FoundAs::Member => "member",
    };
    let (tone, state, incarnation) = match found.sight {
        Some(sight) => {
            let tone = if sight.state == ActorState::Running { Tone::Good } else { Tone::Warn };
            (tone, sight.state.to_string(), sight.incarnation.to_string())
        }
        None => (Tone::Dim, "-".to_owned(), "-".to_owned()),
    };
    let (seen_tone, seen) = if found.stale { (Tone::Warn, "stale") } else { (Tone::Plain, "now") };
    vec![
        (Tone::Plain, found.node.to_string()),
        (Tone::Plain, found.path.to_string()),
        (Tone::Dim, found_as.to_owned()),
        (tone, state),
        (Tone::Plain, incarnation),
        (seen_tone, seen.to_owned()),
    ]
}
