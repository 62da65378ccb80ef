//! Logs by `tracing`, on stderr: for people on a terminal, JSON lines otherwise.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What is logged when nobody says otherwise.
pub const FILTER_DEFAULT: &str = "info";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Human {
        /// With terminal colours.
        colours: bool,
    },
    /// One JSON object a line, for machines.
    Json,
}

impl Form {
    /// The form that suits where stderr goes: people on a terminal, machines otherwise. Colours only on a terminal, and
    /// neither where `no_color` is asked for nor where the variable `NO_COLOR` has a value.
    pub fn of_stderr(no_color: bool) -> Self {
        let unwanted = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::choose(io::stderr().is_terminal(), unwanted)
    }

    fn choose(terminal: bool, no_color: bool) -> Self {
        if terminal { Self::Human { colours: !no_color } } else { Self::Json }
    }
}

/// Sends this process's logs to stderr. `RUST_LOG` wins over `filter`, which wins over [`FILTER_DEFAULT`].
///
/// # Errors
/// The filter makes no sense, or logs are going somewhere already. Nothing changed.
pub fn init(filter: Option<&str>, form: Form) -> Result<(), LogError> {
    let from_env = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = from_env.as_deref().or(filter).unwrap_or(FILTER_DEFAULT);
    tracing::subscriber::set_global_default(subscriber(filter, form, io::stderr)?).map_err(|_| LogError::AlreadySet)
}

/// What [`init`] installs, writing to `writer`.
fn subscriber<W>(filter: &str, form: Form, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| LogError::BadFilter { filter: filter.chars().take(128).collect(), why: error.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match form {
        Form::Human { colours } => Box::new(builder.with_ansi(colours).finish()),
        Form::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// Why logging did not start. The process goes on without logs if it likes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter makes no sense. Correct `RUST_LOG`, or `log.filter` in the node's configuration.
    #[error(
        "{filter:?} is not a log filter ({why}): write a level, or targets with levels, as in \"info\" or \"warn,covenant_cluster=debug\""
    )]
    BadFilter {
        /// The filter, cut to 128 characters.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// Logs of this process go somewhere already, and still do.
    #[error("this process logs already")]
    AlreadySet,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, form: Form) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(filter, form, move || writer.clone()).unwrap(), || {
            tracing::info!(node = "hub-africa", "ready");
            tracing::debug!("detail");
        });
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields_at_the_top() {
        let text = logged("info", Form::Json);
        assert_eq!(text.lines().count(), 1, "debug is below the filter: {text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["message"].as_str(), line["node"].as_str()), (Some("ready"), Some("hub-africa")));
    }

    #[test]
    fn people_see_escape_codes_only_where_they_want_colours() {
        assert!(logged("info", Form::Human { colours: true }).contains('\u{1b}'));
        let plain = logged("info", Form::Human { colours: false });
        assert!(!plain.contains('\u{1b}') && plain.contains("ready"), "{plain:?}");
    }

    #[test]
    fn a_terminal_gets_text_and_a_pipe_gets_json() {
        assert_eq!(Form::choose(true, false), Form::Human { colours: true });
        assert_eq!(Form::choose(true, true), Form::Human { colours: false });
        assert_eq!(Form::choose(false, false), Form::Json);
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_named() {
        let Err(error) = subscriber("covenant=loud", Form::Json, io::sink) else { panic!("it was accepted") };
        assert!(error.to_string().contains("covenant=loud"), "{error}");
    }
}
