//! A table of nations in a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use covenant_book::{NATIONS_BYTES_MAX, Nations, NationsError};

/// Reads a table of nations from a file.
///
/// # Errors
/// The file cannot be read, or the first line that is wrong and what to do about it.
pub fn read_nations(path: &Path) -> Result<Nations, NationsError> {
    let wrong = |line, what| NationsError::at(line, what).in_file(path.display().to_string());
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to see that there are too many.
    let read = File::open(path).and_then(|opened| opened.take(NATIONS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| wrong(1, format!("it cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        wrong(1 + before.iter().filter(|byte| **byte == b'\n').count(), "it is not UTF-8; save it as UTF-8".to_owned())
    })?;
    Nations::parse(&text).map_err(|error| error.in_file(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_in_what_is_said_about_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.csv");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_nations(&path)
        };
        assert_eq!(read(Nations::embedded().text().as_bytes()).unwrap().hash(), Nations::embedded().hash());
        let header = Nations::embedded().text().lines().next().unwrap();
        let error = read(format!("{header}\nKE,\n").as_bytes()).unwrap_err().to_string();
        assert!(error.contains("mine.csv:2: it has 2 fields"), "{error}");
        let error = read(b"iso2\n\xff").unwrap_err().to_string();
        assert!(error.contains("mine.csv:2: it is not UTF-8"), "{error}");
        assert!(read(&vec![b' '; NATIONS_BYTES_MAX + 1]).unwrap_err().to_string().contains("longer than"));
        assert!(read_nations(&dir.path().join("absent")).unwrap_err().to_string().contains("cannot be read"));
    }
}
