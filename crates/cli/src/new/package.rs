//! The cargo package that a behaviour is made in, or for.

use std::path::{Path, PathBuf};

use covenant_node::Trees;
use covenant_node::api::{ApiError, ErrorKind};
use covenant_supervision::{TreeFiles, TreeSource, TreeSourceError};

use super::name::Name;
use super::read;
use super::write::Changes;

const BEHAVIOUR: &str = include_str!("templates/behaviour.rs.txt");
const MAIN: &str = include_str!("templates/main.rs.txt");
const CHILD: &str = include_str!("templates/child.toml.txt");
const MANIFEST: &str = include_str!("templates/Cargo.toml.txt");
/// The line after which a behaviour is registered.
const REGISTERS: &str = "covenant_cli::main(|behaviours| {";
/// The folder of trees in a package, and the file a child goes to where nothing else is said.
const TREES: &str = "supervisor-trees";
const TREE: &str = "hub.toml";

/// A package that is there, or is about to be.
#[derive(Debug)]
pub(super) struct Package(PathBuf);

impl Package {
    /// The package of `dir` or of a folder above it. None where there is none.
    ///
    /// # Errors
    /// There is one, and it does not depend on `covenant`.
    pub(super) fn find(dir: &Path) -> Result<Option<Self>, ApiError> {
        let from = std::path::absolute(dir).map_err(ApiError::failure)?;
        let Some(folder) = from.ancestors().find(|folder| folder.join("Cargo.toml").is_file()) else { return Ok(None) };
        let manifest = folder.join("Cargo.toml");
        let read: toml::Table = read(&manifest)?
            .parse()
            .map_err(|error| ApiError::usage(format!("{}: {error}; nothing was changed", manifest.display())))?;
        let depends = read.get("dependencies").and_then(|table| table.get("covenant")).is_some();
        if !depends && from == folder {
            let told = format!(
                "{} is a package that does not depend on `covenant`, or a workspace: name one that does, or a new folder, \
                 with --dir; nothing was changed",
                manifest.display()
            );
            return Err(ApiError::usage(told));
        }
        // A folder of its own within somebody else's package is a new package.
        Ok(depends.then(|| Self(folder.to_owned())))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The behaviour's file, and where the program learns of it.
    pub(super) fn plan_behaviour(
        &self,
        name: &Name,
        changes: &mut Changes,
        to_do: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let (module, of_type) = (name.module(), name.of_type());
        let file = self.0.join("src").join(format!("{module}.rs"));
        if file.exists() {
            let told = format!("{} is there already; nothing was changed", file.display());
            return Err(ApiError::new(ErrorKind::Conflict, told));
        }
        changes.create(file, BEHAVIOUR.replace("{TYPE}", &of_type));
        let main = self.0.join("src/main.rs");
        if changes.text(&main).is_some() {
            return Ok(()); // it is new, and knows the behaviour
        }
        let register = format!("behaviours.register::<{module}::{of_type}>(\"{module}\");");
        let text = if main.is_file() { read(&main)? } else { String::new() };
        match registered(&text, module, &register) {
            Some(known) => changes.change(main, text, known),
            None => to_do.extend([
                format!("in the root of your crate: mod {module};"),
                format!("where behaviours are registered: {register}"),
                "in Cargo.toml, under [dev-dependencies]: covenant-testkit, from where covenant is".to_owned(),
            ]),
        }
        Ok(())
    }

    /// The behaviour's child in a tree, the last of `tree`.
    pub(super) fn plan_child(&self, name: &Name, tree: Option<&Path>, changes: &mut Changes) -> Result<(), ApiError> {
        let file = match tree {
            Some(file) => std::path::absolute(file).map_err(ApiError::failure)?,
            None => self.0.join(TREES).join(TREE),
        };
        let planned = changes.text(&file).map(str::to_owned);
        let text = planned.map_or_else(|| read(&file), Ok)?;
        let child = CHILD.replace("{MODULE}", name.module());
        let more = format!("{}\n\n{child}", text.trim_end());
        let (root, around) = Trees::around(&file).map_err(ApiError::usage)?;
        let checked = Changed { root: &root, text: &more, changes, folder: &file, around: &around };
        TreeFiles::read(&root, &checked).map_err(|error| {
            ApiError::usage(format!("{} with one more child: {error}; nothing was changed", file.display()))
        })?;
        changes.change(file, text, more);
        Ok(())
    }
}

/// The files of a tree as they will be.
struct Changed<'a> {
    root: &'a str,
    text: &'a str,
    changes: &'a Changes,
    folder: &'a Path,
    around: &'a Trees,
}

impl TreeSource for Changed<'_> {
    fn read(&self, name: &str) -> Result<String, TreeSourceError> {
        if name == self.root {
            return Ok(self.text.to_owned());
        }
        let planned = self.changes.text(&self.folder.with_file_name(format!("{name}.toml")));
        planned.map_or_else(|| self.around.read(name), |text| Ok(text.to_owned()))
    }
}

/// The text of `main.rs` with one more module that is registered. None where the places for that are not found.
fn registered(text: &str, module: &str, register: &str) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let call = lines.iter().position(|line| line.contains(REGISTERS))?;
    let last = (call + 1..lines.len())
        .take_while(|at| lines[*at].trim_start().starts_with("behaviours."))
        .last()
        .unwrap_or(call);
    lines.insert(last + 1, format!("        {register}"));
    let modules = lines.iter().rposition(|line| line.starts_with("mod ") && line.ends_with(';'));
    let place = modules.map(|at| at + 1).or_else(|| lines.iter().position(|line| line.starts_with("fn ")))?;
    lines.insert(place, format!("mod {module};"));
    Some(lines.join("\n") + "\n")
}

/// Plans a package with one behaviour, and the trees of a node beside it.
///
/// # Errors
/// The folder has something in it, or `covenant` is no checkout of this program's source.
pub(super) fn plan_new(
    dir: &Path,
    covenant: Option<&Path>,
    name: &Name,
    changes: &mut Changes,
) -> Result<Package, ApiError> {
    let folder = std::path::absolute(dir).map_err(ApiError::failure)?;
    if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let told = format!(
            "{} is neither empty nor a package that depends on `covenant`; nothing was changed",
            folder.display()
        );
        return Err(ApiError::new(ErrorKind::Conflict, told));
    }
    let Some(covenant) = covenant else {
        let told = "a new package must know where covenant's source is: give --covenant PATH, the folder with its \
                    `crates`; nothing was changed";
        return Err(ApiError::usage(told));
    };
    let crates = std::fs::canonicalize(covenant.join("crates")).map_err(|error| {
        ApiError::usage(format!("{}: {error}; nothing was changed", covenant.join("crates").display()))
    })?;
    let package = folder.file_name().and_then(|name| name.to_str()).unwrap_or("behaviours");
    let package: String = package
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' })
        .collect();
    let package =
        if package.starts_with(|first: char| first.is_ascii_alphabetic()) { package } else { format!("my_{package}") };
    let dependency = |name: &str| {
        let path = crates.join(name);
        if !path.join("Cargo.toml").is_file() {
            return Err(ApiError::usage(format!("there is no crate in {}; nothing was changed", path.display())));
        }
        let path = path.to_str().ok_or_else(|| ApiError::usage("the path of covenant's source is not plain text"))?;
        Ok(toml::Value::from(path).to_string())
    };
    let manifest = MANIFEST
        .replace("{PACKAGE}", &package)
        .replace("{COVENANT}", &dependency("covenant")?)
        .replace("{CLI}", &dependency("cli")?)
        .replace("{TESTKIT}", &dependency("testkit")?);
    changes.create(folder.join("Cargo.toml"), manifest);
    // The versions this source was tested with.
    if let Ok(lock) = std::fs::read_to_string(covenant.join("Cargo.lock")) {
        changes.create(folder.join("Cargo.lock"), lock);
    }
    changes.create(folder.join(".gitignore"), "/target\n/covenant-data\n".to_owned());
    let main = MAIN.replace("{MODULE}", name.module()).replace("{TYPE}", &name.of_type());
    changes.create(folder.join("src/main.rs"), main);
    for (tree, text) in Trees::files_built_in() {
        changes.create(folder.join(TREES).join(format!("{tree}.toml")), text.to_owned());
    }
    Ok(Package(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_module_is_registered_after_the_last() {
        let one = MAIN.replace("{MODULE}", "one").replace("{TYPE}", "One");
        let two = registered(&one, "two", "behaviours.register::<two::Two>(\"two\");").unwrap();
        assert_eq!(
            two,
            "//! The covenant command, with behaviours of our own.\n\nmod one;\nmod two;\n\nfn main() -> std::process::ExitCode \
             {\n    covenant_cli::main(|behaviours| {\n        behaviours.register::<one::One>(\"one\");\n        \
             behaviours.register::<two::Two>(\"two\");\n    })\n}\n"
        );
        assert_eq!(registered("fn main() {}\n", "two", "x"), None);
    }
}
