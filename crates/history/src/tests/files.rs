//! A history that was kept can be looked at again, and a file that is none is refused.

use super::model::good;
use crate::{History, HistoryError, LINE_BYTES_MAX};

fn bytes(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    history.write_to(&mut bytes).unwrap();
    bytes
}

fn refused(text: &str) -> String {
    History::read_from(&mut text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let history = good(3, 300);
    assert_eq!(History::read_from(&mut bytes(&history).as_slice()).unwrap(), history);
}

#[test]
fn a_file_that_is_no_history_is_refused_and_says_where() {
    let begin = "{\"history\":{\"version\":1,\"opening\":{}}}\n";
    let line = |line: &str| format!("{begin}{line}\n");
    assert!(matches!(History::read_from(&mut &b""[..]), Err(HistoryError::NoBeginning)));
    assert!(refused("{\"history\":{\"version\":2,\"opening\":{}}}").contains("version 2"));
    let booked = |from: &str, amount: &str| {
        line(&format!(
            "{{\"booked\":{{\"number\":1,\"id\":\"1\",\"from\":\"{from}\",\"to\":\"b\",\"amount\":\"{amount}\"}}}}"
        ))
    };
    assert!(History::read_from(&mut booked("a", "5").as_bytes()).is_ok());
    assert!(refused(&booked("a", "5")[begin.len()..]).contains("does not begin"));
    assert!(refused(&booked("a", "0")).contains("line 2") && refused(&booked("a", "-1")).contains("above zero"));
    assert!(refused(&booked("a", &"9".repeat(38))).contains("larger"));
    assert!(refused(&booked("", "5")).contains("name") && refused(&booked(&"x".repeat(129), "5")).contains("name"));
    let read = "{\"read\":{\"client\":1,\"invoked\":5,\"returned\":4,\"balances\":{}}}";
    assert!(refused(&line(read)).contains("before it was asked"));
    assert!(refused(&line(begin)).contains("line 2"));
    assert!(refused(&line("{\"booked\":{\"more\":1}}")).contains("line 2"));
    assert!(refused(&line(&" ".repeat(LINE_BYTES_MAX + 1))).contains("longer"));
}
