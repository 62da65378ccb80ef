//! The six sectors that community funds go into, and the projects in them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use covenant_types::UnknownWord;

use crate::ProjectCode;

/// One of the six sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sector {
    /// Food and the land it grows on.
    Agriculture,
    /// What is dug up, and what becomes of the place.
    Minerals,
    /// Light, heat and power.
    Energy,
    /// Networks and machines.
    Technology,
    /// Schools and what is learned.
    Education,
    /// Care, water and medicine.
    Health,
}

impl Sector {
    /// Every sector, in a fixed order.
    pub const ALL: [Self; 6] =
        [Self::Agriculture, Self::Minerals, Self::Energy, Self::Technology, Self::Education, Self::Health];

    /// The word used in files and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agriculture => "agriculture",
            Self::Minerals => "minerals",
            Self::Energy => "energy",
            Self::Technology => "technology",
            Self::Education => "education",
            Self::Health => "health",
        }
    }
}

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Sector {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|sector| sector.as_str() == text).ok_or_else(|| UnknownWord {
            what: "sector",
            word: text.chars().take(64).collect(),
            allowed: "agriculture, minerals, energy, technology, education, health",
        })
    }
}

/// Something that community funds are paid into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// What it is called in accounts and payments.
    pub code: ProjectCode,
    /// The one sector it belongs to.
    pub sector: Sector,
    /// Its name for people.
    pub name: String,
}

/// A list of projects, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projects(BTreeMap<ProjectCode, Project>);

/// The list that is built into the program.
const EMBEDDED: &str = include_str!("../data/projects.csv");
const HEADER: &str = "project,sector,name";
/// The longest list, in bytes.
pub const PROJECTS_BYTES_MAX: usize = 1024 * 1024;
/// The most projects in one list.
pub const PROJECTS_MAX: usize = 4096;

impl Projects {
    /// The list that is built into the program. It is illustrative: no such project exists.
    ///
    /// # Panics
    /// Never: a test reads it.
    pub fn embedded() -> &'static Self {
        static LIST: OnceLock<Projects> = OnceLock::new();
        LIST.get_or_init(|| Self::parse(EMBEDDED).expect("the embedded list is tested"))
    }

    /// The bytes of the list that is built into the program.
    pub fn embedded_text() -> &'static str {
        EMBEDDED
    }

    /// Reads a list. Lines that begin with `#` are remarks.
    ///
    /// # Errors
    /// The first line that is wrong, and what to do about it.
    pub fn parse(text: &str) -> Result<Self, ProjectsError> {
        if text.len() > PROJECTS_BYTES_MAX {
            return Err(ProjectsError { line: 1, what: format!("the list is longer than {PROJECTS_BYTES_MAX} bytes") });
        }
        let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        let mut lines = numbered.filter(|(_, line)| !line.starts_with('#'));
        match lines.next() {
            Some((_, HEADER)) => {}
            Some((line, _)) => return Err(ProjectsError { line, what: format!("the first line must be {HEADER}") }),
            None => return Err(ProjectsError { line: 1, what: format!("the first line must be {HEADER}") }),
        }
        let mut projects = BTreeMap::new();
        for (line, text) in lines {
            let wrong = |what| ProjectsError { line, what };
            let project = project(text).map_err(wrong)?;
            if projects.len() == PROJECTS_MAX {
                return Err(wrong(format!("there are more than {PROJECTS_MAX} projects")));
            }
            if let Some(before) = projects.insert(project.code, project) {
                return Err(wrong(format!("{} stands in the list already; keep one of them", before.code)));
            }
        }
        Ok(Self(projects))
    }

    /// All projects in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = &Project> {
        self.0.values()
    }
}

fn project(line: &str) -> Result<Project, String> {
    if line.contains('"') {
        return Err("quotes are not used in this list; write the name without them".to_owned());
    }
    let fields: Vec<&str> = line.split(',').collect();
    let [code, sector, name] = fields[..] else {
        return Err(format!("it has {} fields and not the 3 of {HEADER}; names have no commas", fields.len()));
    };
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err("the name is empty, longer than 128 bytes or not plain text".to_owned());
    }
    let code = code.parse().map_err(|error| format!("{code:?}: {error}"))?;
    let sector = sector.parse().map_err(|error| format!("{error}"))?;
    Ok(Project { code, sector, name: name.to_owned() })
}

/// What is wrong with a list of projects. Nothing was booked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("projects.csv:{line}: {what}")]
pub struct ProjectsError {
    line: usize,
    what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_list_has_every_sector_and_says_that_it_is_illustrative() {
        let projects = Projects::embedded();
        assert!(projects.iter().count() >= 27);
        for sector in Sector::ALL {
            assert!(projects.iter().filter(|project| project.sector == sector).count() >= 4, "{sector}");
            assert_eq!(sector.as_str().parse(), Ok(sector));
        }
        assert!(Projects::embedded_text().starts_with("# Illustrative"));
    }

    #[test]
    fn wrong_lines_are_named() {
        let error = |text: &str| Projects::parse(text).unwrap_err().to_string();
        let with = |line: &str| error(&format!("# remark\n{HEADER}\nseeds,agriculture,Seeds\n{line}"));
        assert!(error("").starts_with("projects.csv:1: the first line must be"));
        assert!(error("# only\nproject").starts_with("projects.csv:2: the first line must be"));
        assert!(with("seeds,health,Other").starts_with("projects.csv:4: seeds stands in the list already"));
        assert!(with("a,health").contains("2 fields"));
        assert!(with("A,health,N").contains("a project is 1 to 16"));
        assert!(with("a,sport,N").contains("unknown sector"));
        assert!(with("a,health,").contains("the name is empty"));
        assert!(with("a,health,\"N\"").contains("quotes"));
        assert!(error(&"#".repeat(PROJECTS_BYTES_MAX + 1)).contains("longer than"));
        let rows = |count| HEADER.to_owned() + &(0..count).map(|at| format!("\np{at},health,N")).collect::<String>();
        assert_eq!(Projects::parse(&rows(PROJECTS_MAX)).unwrap().iter().count(), PROJECTS_MAX);
        assert!(error(&rows(PROJECTS_MAX + 1)).contains("more than 4096"));
    }
}
