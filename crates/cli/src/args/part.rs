//! What can be typed of a node's part in its cluster.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use covenant_types::NodeName;

/// Having a node take nothing new.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Drain {
    #[command(subcommand)]
    pub(crate) verb: Option<DrainVerb>,
    /// How long to wait for what is under way. Ctrl-C stops waiting, not draining
    #[arg(long, default_value = "30s", value_parser = covenant_types::parse_duration)]
    pub(crate) deadline: Duration,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Only say what it would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum DrainVerb {
    /// Have it work again
    Cancel,
}

/// Putting a node to sleep.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sleep {
    /// For how long, as 5m
    #[arg(long = "for", value_name = "TIME", value_parser = covenant_types::parse_duration)]
    pub(crate) time: Duration,
    /// Only say what it would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Stopping a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct Leave {
    /// Only say what it would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask first
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Waiting for a condition.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wait {
    /// steady: every member reachable, asleep or gone in order, and nothing changed for two seconds; ready: the node is
    /// ready; NODE=STATE: that member is reachable, unreachable, asleep, down, left, removed, active or draining
    #[arg(long = "for", value_name = "WHAT")]
    pub(crate) what: Wanted,
    /// How long to wait; exits with 7 then
    #[arg(long, default_value = "60s", value_parser = covenant_types::parse_duration)]
    pub(crate) timeout: Duration,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Steady,
    Ready,
    Member { name: NodeName, word: String },
}

/// The words that a member can be waited for by: states and phases.
pub(crate) const MEMBER_WORDS: [&str; 8] =
    ["reachable", "unreachable", "asleep", "down", "left", "removed", "active", "draining"];

impl FromStr for Wanted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "steady" => Ok(Self::Steady),
            None if text == "ready" => Ok(Self::Ready),
            None => Err(format!("{text:?} is not steady, ready or NODE=STATE")),
            Some((name, word)) if MEMBER_WORDS.contains(&word) => {
                let name = name.parse().map_err(|error| format!("{error}"))?;
                Ok(Self::Member { name, word: word.to_owned() })
            }
            Some((_, word)) => Err(format!("{word:?} is none of {}", MEMBER_WORDS.join(", "))),
        }
    }
}

/// What happened to members.
#[derive(Clone, Debug, Args)]
pub(crate) struct Events {
    /// Go on showing what happens, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Only those after this number
    #[arg(long, default_value_t = 0)]
    pub(crate) after: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_read_or_refused_with_the_words_that_would_do() {
        let name = "hub-asia".parse().unwrap();
        assert_eq!("hub-asia=down".parse(), Ok(Wanted::Member { name, word: "down".to_owned() }));
        assert_eq!("steady".parse(), Ok(Wanted::Steady));
        assert!("hub-asia=gone".parse::<Wanted>().unwrap_err().contains("unreachable"));
        assert!("Hub=down".parse::<Wanted>().is_err());
        assert!("steadily".parse::<Wanted>().is_err());
    }
}
