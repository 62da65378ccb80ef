//! The text of a tree file, and where in it an offset lies.

pub(crate) struct Text<'a> {
    /// The file's name as errors show it.
    pub(crate) file: &'a str,
    text: &'a str,
    /// The offset each line begins at. Kept so that a file with many children is not read through for each of them.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let later = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file, text, lines: std::iter::once(0).chain(later).collect() }
    }

    /// The line an offset lies in, counted from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= offset)
    }

    /// The line and the column, counted from 1 and in characters, as editors do.
    pub(crate) fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let begin = self.lines[line - 1];
        let before = self.text.get(begin..offset.min(self.text.len())).unwrap_or_default();
        (line, before.chars().filter(|c| *c != BYTE_ORDER_MARK).count() + 1)
    }
}

/// Some editors write it first; none shows it.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let text = Text::new("x.toml", "ab\n\u{e9}\u{e9}x\r\n\nz");
        let place = |wanted: char| text.place(text.text.find(wanted).unwrap());
        assert_eq!((place('a'), place('x'), place('z')), ((1, 1), (2, 3), (4, 1)));
        assert_eq!(text.place(text.text.len()), (4, 2), "one past the end");
        assert_eq!(text.place(1000), (4, 2), "beyond it");
    }
}
