//! `covenant new behaviour`: a behaviour that compiles, its test, and its place in a tree.

mod name;
mod package;
mod write;

use std::path::{Path, PathBuf};

use covenant_node::api::ApiError;
use serde::Serialize;

use crate::args::{NewBehaviour, NewVerb};
use crate::output::Output;
use name::Name;
use package::Package;
use write::Changes;

/// Does one verb about new things.
pub(crate) fn run(verb: NewVerb, output: &Output) -> Result<(), ApiError> {
    match verb {
        NewVerb::Behaviour(args) => behaviour(&args, output),
    }
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    behaviour: String,
    /// Files that are new.
    created: Vec<PathBuf>,
    /// Files that were there, and have more in them now.
    changed: Vec<PathBuf>,
    /// What is left to be done by hand, line by line.
    to_do: Vec<String>,
}

fn behaviour(args: &NewBehaviour, output: &Output) -> Result<(), ApiError> {
    let name: Name = args.name.parse().map_err(ApiError::usage)?;
    let mut changes = Changes::default();
    let mut to_do = Vec::new();
    let package = match Package::find(&args.dir)? {
        Some(package) => package,
        None => package::plan_new(&args.dir, args.covenant.as_deref(), &name, &mut changes)?,
    };
    package.plan_behaviour(&name, &mut changes, &mut to_do)?;
    package.plan_child(&name, args.tree.as_deref(), &mut changes)?;
    let (created, changed) = changes.apply()?;
    let made = Made { behaviour: name.module().to_owned(), created, changed, to_do };
    output.view(&made, |_| told(&made, &package));
    Ok(())
}

fn told(made: &Made, package: &Package) -> String {
    let mut lines = Vec::new();
    lines.extend(made.created.iter().map(|file| format!("created {}", file.display())));
    lines.extend(made.changed.iter().map(|file| format!("changed {}", file.display())));
    if !made.to_do.is_empty() {
        lines.push("to be done by hand:".to_owned());
        lines.extend(made.to_do.iter().map(|line| format!("    {line}")));
    }
    let folder = package.folder().display();
    lines.push(format!("try it: cd {folder} && cargo test && cargo run -- up --trees supervisor-trees"));
    lines.join("\n")
}

/// A file of ours, as it is.
fn read(path: &Path) -> Result<String, ApiError> {
    std::fs::read_to_string(path)
        .map_err(|error| ApiError::failure(format!("{}: {error}; nothing was changed", path.display())))
}
