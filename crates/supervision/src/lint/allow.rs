//! `# allow(code): why`, on a line of its own: a warning that its author has seen and means.

use super::{LintCode, LintWarning};

/// Takes the warnings of the file `name` away that its text allows, and adds one for each allowance that is worth nothing.
pub(super) fn apply(name: &str, text: &str, warnings: &mut Vec<LintWarning>) {
    let file = format!("{name}.toml");
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let Some((word, why)) = trimmed.strip_prefix(BEGINS).and_then(|rest| rest.split_once(')')) else { continue };
        let column = line.chars().count() - trimmed.chars().count() + 1;
        let mut useless = |what: String| {
            let code = LintCode::UselessAllow;
            warnings.push(LintWarning { file: file.clone(), line: at + 1, column, code, what });
        };
        let Some(code) = LintCode::ALL.into_iter().find(|code| code.as_str() == word) else {
            let all = LintCode::ALL.map(LintCode::as_str).join(", ");
            useless(format!("there is no warning {:?}; there are {all}", word.chars().take(64).collect::<String>()));
            continue;
        };
        if why.strip_prefix(':').is_none_or(|why| why.trim().is_empty()) {
            useless(format!("say why: # allow({code}): ..."));
            continue;
        }
        let before = warnings.len();
        warnings.retain(|warning| warning.file != file || warning.code != code);
        if warnings.len() == before {
            let what = format!("nothing here is {code} any more; remove this line");
            warnings.push(LintWarning { file: file.clone(), line: at + 1, column, code: LintCode::UselessAllow, what });
        }
    }
}

const BEGINS: &str = "# allow(";
