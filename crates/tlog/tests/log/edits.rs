//! Ways to change a list of entries, for tests of this crate and of those whose logs it holds.

/// Every way to change them at one place.
pub(crate) fn edits<'a>(entries: &[&'a [u8]], place: usize) -> Vec<(&'static str, Vec<&'a [u8]>)> {
    let edit = |change: &dyn Fn(&mut Vec<&'a [u8]>)| {
        let mut edited = entries.to_vec();
        change(&mut edited);
        edited
    };
    vec![
        ("dropped", edit(&|edited| _ = edited.remove(place))),
        ("there twice", edit(&|edited| edited.insert(place, edited[place]))),
        ("preceded by a new one", edit(&|edited| edited.insert(place, b"a new entry"))),
        ("another", edit(&|edited| edited[place] = b"another entry")),
        ("swapped with its neighbour", edit(&|edited| edited.swap(place, if place == 0 { 1 } else { place - 1 }))),
        ("swapped with a far one", edit(&|edited| edited.swap(place, (place + entries.len() / 2) % entries.len()))),
    ]
}
