//! Why actors crashed: the capsules a node keeps.

use covenant_node::api::ApiError;
use covenant_node::api::actor::{Capsule, CrashSummary};

use super::actor::messages;
use crate::args::{CrashVerb, Global};
use crate::output::{Output, Tone};

/// Does one verb about crashes.
pub(crate) async fn run(global: &Global, verb: CrashVerb, output: &Output) -> Result<(), ApiError> {
    let client = global.client().await?;
    match verb {
        CrashVerb::Ls => {
            let crashes: Vec<CrashSummary> = client.get("/v1/crashes").await?;
            output.view(&crashes, |output| list(&crashes, output));
        }
        CrashVerb::Show { id } => {
            if !(1..=ID_LETTERS_MAX).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(ApiError::usage(format!("{id:?} is no id of a crash: `covenant crash ls` lists them")));
            }
            let capsule: Capsule = client.get(&format!("/v1/crashes/{id}")).await?;
            output.view(&capsule, |output| show(&capsule, output));
        }
    }
    Ok(())
}

/// The longest id that is asked for.
const ID_LETTERS_MAX: usize = 64;

fn list(crashes: &[CrashSummary], output: &Output) -> String {
    if crashes.is_empty() {
        return "no crashes".to_owned();
    }
    let row = |crash: &CrashSummary| {
        vec![
            (Tone::Plain, crash.id.clone()),
            (Tone::Plain, crash.path.to_string()),
            (Tone::Bad, crash.count.to_string()),
            (Tone::Plain, crash.last_incarnation.to_string()),
            (Tone::Plain, crash.class.clone()),
        ]
    };
    let rows: Vec<_> = crashes.iter().map(row).collect();
    output.table(&["ID", "ACTOR", "TIMES", "LAST INCARNATION", "REASON"], &rows)
}

fn show(capsule: &Capsule, output: &Output) -> String {
    let Capsule { first, .. } = capsule;
    let mut text = format!(
        "{} {}\nreason       {}\ntimes        {}, last incarnation {} at {}\nfirst        incarnation {} at {}\nhandled      {}, {} waited",
        first.path,
        first.behaviour.as_deref().unwrap_or("a supervisor"),
        output.paint(Tone::Bad, &first.reason),
        capsule.count,
        capsule.last_incarnation,
        capsule.last_at.0,
        first.incarnation,
        first.at.0,
        first.handled,
        first.waiting,
    );
    if let Some(site) = &first.site {
        text += &format!("\npanicked at  {site}");
    }
    if first.took_along > 0 {
        text += &format!("\nwith it      {} that ran below it", first.took_along);
    }
    if let Some(trace) = first.trace {
        text += &format!("\ntrace        {trace}");
    }
    let rows: Vec<_> = capsule
        .chain
        .iter()
        .map(|link| {
            vec![
                (Tone::Plain, link.supervisor.to_string()),
                (Tone::Plain, link.did.to_string()),
                (Tone::Dim, link.child.to_string()),
                (Tone::Dim, link.times.to_string()),
            ]
        })
        .collect();
    text += &format!("\n\n{}", output.table(&["SUPERVISOR", "DID", "CHILD", "TIMES"], &rows));
    if let Some(record) = &first.record {
        text += &format!("\n\n{}", messages(record, output));
    }
    text
}
