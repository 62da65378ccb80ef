//! Prints: tables for people, JSON for programs, errors on stderr.

use std::io::{IsTerminal, Write};

use covenant_node::api::ApiError;
use serde::Serialize;

use crate::args::Global;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colours: bool,
}

/// What a cell means, which on a terminal is its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// As it should be.
    Good,
    /// On its way, or worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Less important.
    Dim,
}

impl Output {
    /// As the options, NO_COLOR and the terminal say.
    pub(crate) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json: global.json, colours: !global.no_color && !no_color && std::io::stdout().is_terminal() }
    }

    /// Whether JSON was asked for.
    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// Whether colours are wanted and can be seen.
    pub(crate) fn colours(self) -> bool {
        self.colours
    }

    /// Prints `value` as JSON, or calls `table` for people.
    pub(crate) fn view<T: Serialize>(self, value: &T, table: impl FnOnce(&Self) -> String) {
        let text = if self.json {
            serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()))
        } else {
            table(&self)
        };
        self.data(text.trim_end_matches('\n'));
    }

    /// Prints lines on stdout. A reader that left early, such as `head`, is no error.
    #[expect(clippy::unused_self, reason = "all printing goes through here")]
    pub(crate) fn data(self, text: &str) {
        let _reader_left = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Prints a view that replaces the last one: in place on a terminal, below it elsewhere. Lines beyond the screen are
    /// left out, so that the next one lands where this one did.
    pub(crate) fn redraw(self, text: &str) {
        let mut out = std::io::stdout().lock();
        if !out.is_terminal() {
            let _reader_left = writeln!(out, "{text}\n");
            return;
        }
        let rows = crossterm::terminal::size().map_or(24, |(_, rows)| usize::from(rows)).saturating_sub(1).max(1);
        let mut screen = String::from(NO_WRAP_AND_HOME);
        let count = text.lines().count();
        let shown = if count > rows { rows - 1 } else { count };
        for line in text.lines().take(shown) {
            screen.push_str(line);
            screen.push_str(REST_OF_LINE_AND_NEXT);
        }
        if shown < count {
            screen.push_str(&format!("... {} lines more than the screen has", count - shown));
        }
        screen.push_str(REST_OF_SCREEN_AND_WRAP);
        let _reader_left = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
    }

    /// Prints a remark on stderr.
    #[expect(clippy::unused_self, reason = "all printing goes through here")]
    pub(crate) fn talk(self, text: &str) {
        let _nobody_listens = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Shows how far something is, in place of what was shown before; nothing where nobody watches. An empty text ends it.
    pub(crate) fn progress(self, text: &str) {
        let mut err = std::io::stderr().lock();
        if !self.json && err.is_terminal() {
            let _nobody_listens = write!(err, "\r{text}\x1b[K").and_then(|()| err.flush());
        }
    }

    /// Prints why a verb failed.
    pub(crate) fn error(self, error: &ApiError) {
        if self.json {
            let text = serde_json::to_string(error).unwrap_or_else(|_| error.message.clone());
            self.talk(&text);
        } else {
            self.talk(&format!("covenant: {}", error.message));
        }
    }

    /// `text` in the colour of its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A table: a heading and rows of cells, columns as wide as they need to be.
    pub(crate) fn table(self, heading: &[&str], rows: &[Vec<(Tone, String)>]) -> String {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| text.chars().count());
            cells.chain(heading.get(column).map(|text| text.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heading.len()).map(width).collect();
        let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(text.chars().count()) + 2);
        let mut lines = Vec::with_capacity(rows.len() + 1);
        let head: String =
            heading.iter().zip(&widths).map(|(text, width)| format!("{text}{}", pad(text, *width))).collect();
        lines.push(self.paint(Tone::Dim, head.trim_end()));
        for row in rows {
            let line: String = row
                .iter()
                .zip(&widths)
                .map(|((tone, text), width)| format!("{}{}", self.paint(*tone, text), pad(text, *width)))
                .collect();
            lines.push(line.trim_end().to_owned());
        }
        lines.join("\n")
    }
}

const NO_WRAP_AND_HOME: &str = "\x1b[?7l\x1b[H";
const REST_OF_LINE_AND_NEXT: &str = "\x1b[K\r\n";
const REST_OF_SCREEN_AND_WRAP: &str = "\x1b[J\x1b[?7h";

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count;
    let mut rest = 0;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024 {
            let tenth = rest * 10 / 1024;
            return if unit == "B" { format!("{value} B") } else { format!("{value}.{tenth} {unit}") };
        }
        rest = value % 1024;
        value /= 1024;
    }
    format!("{value} PiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let output = Output { json: false, colours: false };
        let row = |a: &str, b: &str| vec![(Tone::Good, a.to_owned()), (Tone::Plain, b.to_owned())];
        let table = output.table(&["NODE", "STATE"], &[row("hub-africa", "up"), row("t", "down")]);
        assert_eq!(table, "NODE        STATE\nhub-africa  up\nt           down");
    }

    #[test]
    fn bytes_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(40 << 20), "40.0 MiB");
    }
}
