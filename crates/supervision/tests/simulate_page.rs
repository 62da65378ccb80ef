//! The page about `tree simulate` shows what really happens.

use covenant_supervision::simulation::{Simulation, read_script};
use covenant_supervision::{TreeSource, TreeSourceError, load_tree};

const PAGE: &str = include_str!("../../../docs/operating/simulate.md");

struct Page;

impl TreeSource for Page {
    fn read(&self, _: &str) -> Result<String, TreeSourceError> {
        Ok(block("toml").to_owned())
    }
}

/// What the first block of code in this language has.
fn block(language: &str) -> &'static str {
    let (_, behind) = PAGE.split_once(&format!("```{language}\n")).expect("the page has one");
    behind.split("```").next().expect("it ends")
}

#[test]
fn the_page_about_tree_simulate_shows_what_happens() {
    let tree = load_tree("sync", &Page).unwrap();
    let mut lines = Vec::new();
    let mut out = |line| lines.push(serde_json::to_string(&line).unwrap());
    let mut simulation = Simulation::start(&tree, 0, &mut out).unwrap();
    for event in read_script(block("json").as_bytes()).unwrap() {
        simulation.play(&event, &mut out).unwrap();
    }
    simulation.run_out(&mut out).unwrap();
    lines.push(serde_json::to_string(&simulation.state()).unwrap());
    let shown: Vec<&str> = block("text").lines().filter(|line| !line.starts_with('$')).collect();
    assert_eq!(lines, shown);
}
