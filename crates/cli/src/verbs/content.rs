//! `covenant content`: datasets that stay readable when links are down.

use std::path::PathBuf;

use covenant_content::{Class, ContentView, DatasetView, Published};
use covenant_node::api::{ApiError, GetDataset, Publish, Subscribe};
use serde::Serialize;

use crate::args::{ContentVerb, Global};
use crate::output::{Output, Tone, bytes};
use crate::up::layout::Layout;

/// Does one verb of content.
pub(crate) async fn run(global: &Global, verb: ContentVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        ContentVerb::Publish { dir, name, class } => {
            let order = Publish { dir: absolute(&dir)?, name, class };
            let done: Published = global.client().await?.post("/v1/content/publish", &order).await?;
            output.view(&done, |_| {
                format!(
                    "published {} version {}: {} files, {} in {} chunks, id {}",
                    done.name,
                    done.version,
                    done.files,
                    bytes(done.bytes),
                    done.chunks,
                    done.id
                )
            });
        }
        ContentVerb::Ls => list(global, output).await?,
        ContentVerb::Subscribe { class } => subscribe(global, class, true, output).await?,
        ContentVerb::Unsubscribe { class } => subscribe(global, class, false, output).await?,
        ContentVerb::Get { name, to } => {
            let order = GetDataset { name: name.clone(), to: absolute(&to)? };
            let done: serde_json::Value = global.client().await?.post("/v1/content/get", &order).await?;
            output.view(&done, |_| format!("{name} is in {}, every chunk verified", order.to));
        }
    }
    Ok(())
}

async fn subscribe(global: &Global, class: String, on: bool, output: &Output) -> Result<(), ApiError> {
    let classes: Vec<Class> = global.client().await?.post("/v1/content/subscribe", &Subscribe { class, on }).await?;
    output.view(&classes, |_| {
        let names: Vec<String> = classes.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            "subscribed to nothing".to_owned()
        } else {
            format!("subscribed to {}", names.join(", "))
        }
    });
    Ok(())
}

/// What one node holds.
#[derive(Debug, Serialize)]
struct NodeContent {
    node: String,
    content: Option<ContentView>,
    error: Option<String>,
}

async fn list(global: &Global, output: &Output) -> Result<(), ApiError> {
    let one = global.node.is_some() || global.socket.is_some() || global.address.is_some();
    let layout =
        if one { None } else { Layout::load(&global.folder).map_err(|error| ApiError::usage(format!("{error:#}")))? };
    let mut nodes = Vec::new();
    match layout {
        None => {
            let view: ContentView = global.client().await?.get("/v1/content").await?;
            nodes.push(NodeContent { node: view.node.to_string(), content: Some(view), error: None });
        }
        Some(layout) => {
            for plan in &layout.node {
                let asked: Result<ContentView, ApiError> = global.client_of(&plan.name)?.get("/v1/content").await;
                let (content, error) = match asked {
                    Ok(view) => (Some(view), None),
                    Err(error) => (None, Some(error.message)),
                };
                nodes.push(NodeContent { node: plan.name.to_string(), content, error });
            }
        }
    }
    output.view(&nodes, |output| {
        let rows: Vec<_> = nodes.iter().flat_map(rows_of).collect();
        output.table(&["NODE", "DATASET", "CLASS", "PROGRESS", "SIZE", "FRESH"], &rows)
    });
    Ok(())
}

fn rows_of(node: &NodeContent) -> Vec<Vec<(Tone, String)>> {
    let plain = |text: &str| (Tone::Plain, text.to_owned());
    match &node.content {
        None => {
            let why = node.error.clone().unwrap_or_default();
            vec![vec![plain(&node.node), (Tone::Bad, why)]]
        }
        Some(content) if content.datasets.is_empty() => {
            vec![vec![plain(&node.node), (Tone::Dim, "nothing".to_owned())]]
        }
        Some(content) => content.datasets.iter().map(|dataset| row(&node.node, dataset)).collect(),
    }
}

fn row(node: &str, dataset: &DatasetView) -> Vec<(Tone, String)> {
    let tone = if dataset.complete { Tone::Good } else { Tone::Warn };
    let fresh = match dataset.completed_s_ago {
        Some(seconds) => format!("{seconds} s ago"),
        None => "not yet whole".to_owned(),
    };
    vec![
        (Tone::Plain, node.to_owned()),
        (Tone::Plain, format!("{} v{}", dataset.name, dataset.version)),
        (Tone::Plain, dataset.class.to_string()),
        (tone, bar(dataset.chunks_have, dataset.chunks_total)),
        (Tone::Plain, bytes(dataset.bytes_total)),
        (Tone::Dim, fresh),
    ]
}

/// `██████░░░░ 60/100`
pub(crate) fn bar(have: u64, total: u64) -> String {
    const CELLS: u64 = 10;
    let full = (have.min(total) * CELLS).checked_div(total).unwrap_or(CELLS);
    let cells: String = (0..CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect();
    format!("{cells} {have}/{total}")
}

fn absolute(path: &std::path::Path) -> Result<String, ApiError> {
    let path: PathBuf = std::path::absolute(path).map_err(ApiError::usage)?;
    path.to_str().map(str::to_owned).ok_or_else(|| ApiError::usage(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_is_full_only_when_all_is_there() {
        assert_eq!(bar(99, 100), "█████████░ 99/100");
        assert_eq!(bar(100, 100), "██████████ 100/100");
        assert_eq!(bar(0, 0), "██████████ 0/0");
    }
}
