//! The book as a table: a line for each transfer, RFC 4180. No field needs quotes: each is a number, a code or a name without
//! commas.

use std::fmt::Write as _;

use covenant_book::{BookError, Store, Transfer};

use super::{Names, date_of};
use crate::question::amount_text;
use crate::statement::kind;

pub(super) const HEADER: &str = "number,position,date,id,kind,from,to,amount,asset,period,nation,sector,project\r\n";

pub(super) fn write_transfer<S: Store>(
    text: &mut String,
    transfer: &Transfer,
    names: &mut Names<'_, S>,
) -> Result<(), BookError<S::Error>> {
    let movement = transfer.movement;
    let ((from, asset), (to, _)) = (names.of(movement.debit)?, names.of(movement.credit)?);
    let word = |code: Option<String>| code.unwrap_or_default();
    // Writing to a String cannot fail.
    let _infallible = write!(
        text,
        "{},{},{},{},{},{from},{to},{},{},{},{},{},{}\r\n",
        transfer.number,
        transfer.position,
        date_of(transfer),
        transfer.id,
        kind(transfer.kind),
        amount_text(movement.amount, asset),
        asset.code,
        transfer.period.0,
        word(movement.tags.nation.map(|code| code.to_string())),
        word(movement.tags.sector.map(|code| code.to_string())),
        word(movement.tags.project.map(|code| code.to_string())),
    );
    Ok(())
}
