//! Notes: a text and signatures of it. After C2SP `signed-note`, and `tlog-cosignature` version 1.
//!
//! A note that was parsed is written again to the same bytes. Reading a text means nothing before a signature was verified.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use covenant_identity::NodeKey;
use sha2::{Digest, Sha256};

/// The longest note, in bytes: sixteen signatures of five kilobytes fit, as the specification asks.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;
/// The most signatures of a note.
pub const SIGNATURES_MAX: usize = 64;
/// The longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Who can sign: the node's key, or one that another process holds.
pub trait Signer {
    /// The public half, Ed25519.
    fn public_key(&self) -> [u8; 32];
    /// Signs `message` with Ed25519.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

impl Signer for NodeKey {
    fn public_key(&self) -> [u8; 32] {
        self.public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.sign(message)
    }
}

/// The name of a key, such as `covenant.example/ledger`: not empty, without spaces, control characters and plus signs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = |c: char| c == '+' || c.is_whitespace() || c < ' ';
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(wrong) {
            return Err(KeyError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key signs. One key signs for one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// The text of a note: a log's own signature.
    Note = 1,
    /// The time and a checkpoint: a witness's cosignature.
    Cosignature = 4,
}

/// A public key that notes are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    kind: KeyKind,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key `public`, called `name`.
    pub fn new(name: KeyName, kind: KeyKind, public: [u8; 32]) -> Self {
        Self { name, kind, public }
    }

    /// Its name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself, Ed25519.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The four bytes that stand before its signatures.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(self.name.as_str()).chain_update("\n").chain_update(self.material());
        let mut id = [0; 4];
        id.copy_from_slice(&hash.finalize()[..4]);
        id
    }

    /// Whether `line` says that it is by this key. Name and id together tell.
    pub fn is_signer_of(&self, line: &SignatureLine) -> bool {
        self.name == line.name && self.id() == line.key_id
    }

    /// Whether `line` is this key's signature of `text`. Of a cosignature: when it was made, in seconds of Unix time; else zero.
    pub fn verify(&self, text: &str, line: &SignatureLine) -> Option<u64> {
        if !self.is_signer_of(line) {
            return None;
        }
        let (time, signature) = match self.kind {
            KeyKind::Note => (0, &line.signature[..]),
            KeyKind::Cosignature => {
                let (time, signature) = line.signature.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*time), signature)
            }
        };
        let message = match self.kind {
            KeyKind::Note => text.to_owned(),
            KeyKind::Cosignature => cosigned_message(time, text)?,
        };
        covenant_identity::verify(&self.public, message.as_bytes(), signature.try_into().ok()?).then_some(time)
    }

    fn material(&self) -> [u8; 33] {
        let mut material = [self.kind as u8; 33];
        material[1..].copy_from_slice(&self.public);
        material
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(self.material()))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    /// Reads a `vkey`: `NAME+ID+KEY`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
        let (id, material) = rest.split_once('+').ok_or(KeyError::Form)?;
        let material = STANDARD.decode(material).map_err(|_| KeyError::Form)?;
        let (kind, public) = material.split_first().ok_or(KeyError::Form)?;
        let kind = match kind {
            1 => KeyKind::Note,
            4 => KeyKind::Cosignature,
            other => return Err(KeyError::Kind(*other)),
        };
        let key = Self::new(name.parse()?, kind, public.try_into().map_err(|_| KeyError::Form)?);
        if format!("{:08x}", u32::from_be_bytes(key.id())) == id { Ok(key) } else { Err(KeyError::Id) }
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A name is empty, too long, or has a space, a plus sign or a control character.
    #[error("not the name of a key")]
    Name,
    /// It does not read `NAME+ID+KEY` with a key of 32 bytes in base64.
    #[error("not a verifier key: it reads NAME+ID+KEY")]
    Form,
    /// A kind of key that this version does not know. Only Ed25519 is: 1 signs notes, 4 cosigns checkpoints.
    #[error("a key of kind {0}, and only 1 and 4 are known")]
    Kind(u8),
    /// The id is not that of this name and key: one of the three was mistyped.
    #[error("the id does not belong to this name and key")]
    Id,
}

/// One signature of a note. It says nothing before [`VerifierKey::verify`] was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    name: KeyName,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

impl SignatureLine {
    /// The name of the key that is said to have signed.
    pub fn name(&self) -> &KeyName {
        &self.name
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = [&self.key_id[..], &self.signature].concat();
        write!(f, "{DASH}{} {}", self.name, STANDARD.encode(signature))
    }
}

impl FromStr for SignatureLine {
    type Err = NoteError;

    /// Reads a line without its newline.
    fn from_str(line: &str) -> Result<Self, NoteError> {
        let parse = || {
            let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
            let signature = STANDARD.decode(signature).ok()?;
            let (key_id, signature) = signature.split_first_chunk::<4>()?;
            (!signature.is_empty()).then_some(())?;
            Some(Self { name: name.parse().ok()?, key_id: *key_id, signature: signature.to_vec() })
        };
        parse().ok_or(NoteError::Signature)
    }
}

/// A text and its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// Reads a note. No signature is verified.
    ///
    /// # Errors
    /// It is not a note, or longer or with more signatures than anybody needs.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        if note.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Characters);
        }
        let blank = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let lines = note[blank + 2..].strip_suffix('\n').ok_or(NoteError::Form)?;
        let signatures: Vec<SignatureLine> =
            lines.split('\n').take(SIGNATURES_MAX + 1).map(str::parse).collect::<Result<_, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::TooLong);
        }
        Ok(Self { text: note[..=blank].to_owned(), signatures })
    }

    /// The same note with one more signature. One that is there already is not added twice.
    #[must_use]
    pub fn with(mut self, line: SignatureLine) -> Self {
        if !self.signatures.contains(&line) {
            self.signatures.push(line);
        }
        self
    }

    /// What was signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in their order.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Why bytes are no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// More than [`NOTE_BYTES_MAX`] bytes or [`SIGNATURES_MAX`] signatures.
    #[error("a note of more than {NOTE_BYTES_MAX} bytes or {SIGNATURES_MAX} signatures")]
    TooLong,
    /// Not UTF-8, or with control characters.
    #[error("a note with bytes that are no text")]
    Characters,
    /// There is no blank line between a text and signatures, or the last line does not end.
    #[error("not a note: a text, a blank line, and signatures")]
    Form,
    /// A line below the blank one is not a signature.
    #[error("a line that is no signature")]
    Signature,
}

/// A note of `text`, which ends in a newline, with its first signature.
pub fn sign(name: &KeyName, signer: &dyn Signer, text: String) -> SignedNote {
    let key = VerifierKey::new(name.clone(), KeyKind::Note, signer.public_key());
    let signature = signer.sign(text.as_bytes()).to_vec();
    SignedNote { text, signatures: vec![SignatureLine { name: name.clone(), key_id: key.id(), signature }] }
}

/// Says that at `time`, in seconds of Unix time, the checkpoint `text` extends all that was seen of its log.
///
/// `None` for a time that no cosignature can carry. Whether it extends them is [`Witness`](crate::Witness)'s to decide.
pub fn cosign(name: &KeyName, signer: &dyn Signer, time: u64, text: &str) -> Option<SignatureLine> {
    let key = VerifierKey::new(name.clone(), KeyKind::Cosignature, signer.public_key());
    let signature = signer.sign(cosigned_message(time, text)?.as_bytes());
    Some(SignatureLine {
        name: name.clone(),
        key_id: key.id(),
        signature: [&time.to_be_bytes()[..], &signature].concat(),
    })
}

fn cosigned_message(time: u64, text: &str) -> Option<String> {
    i64::try_from(time).is_ok().then(|| format!("cosignature/v1\ntime {time}\n{text}"))
}

const DASH: &str = "— ";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\
        — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn the_example_of_the_specification_verifies() {
        let (key, note): (VerifierKey, _) = (KEY.parse().unwrap(), SignedNote::parse(NOTE.as_bytes()).unwrap());
        assert_eq!(key.verify(note.text(), &note.signatures()[0]), Some(0));
        assert_eq!(key.verify("This is another message.\n", &note.signatures()[0]), None);
        assert_eq!((key.to_string(), note.to_string()), (KEY.to_owned(), NOTE.to_owned()));
    }

    #[test]
    fn a_text_may_have_blank_lines_and_the_last_one_separates() {
        let key = NodeKey::generate();
        let name: KeyName = "example.com/log".parse().unwrap();
        let text = "one\n\ntwo\n";
        let note = sign(&name, &key, text.to_owned());
        let parsed = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, note);
        assert_eq!(parsed.text(), text);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let swap = |from: &str, to: &str| NOTE.replace(from, to).into_bytes();
        for (wrong, error) in [
            (b"".to_vec(), NoteError::Form),
            (swap("\n\n", "\n"), NoteError::Form),
            (NOTE.trim_end().as_bytes().to_vec(), NoteError::Form),
            (swap("example message", "\texample"), NoteError::Characters),
            (swap("\n\n", "\r\n\n"), NoteError::Characters),
            ([NOTE.as_bytes(), b"\xff\n"].concat(), NoteError::Characters),
            (swap("— ", "- "), NoteError::Signature),
            (swap("foo ", "foo  "), NoteError::Signature),
            (swap("example.com/foo", "example.com+foo"), NoteError::Signature),
            (swap("example.com/foo", "example.com/\u{2003}foo"), NoteError::Signature),
            (swap("yaQM=", "yaQN="), NoteError::Signature),
            (swap("yaQM=", "yaQM"), NoteError::Signature),
            (format!("{NOTE}\n").into_bytes(), NoteError::Form),
            (vec![b'a'; NOTE_BYTES_MAX + 1], NoteError::TooLong),
            (format!("text\n\n{}", "— a AAAAAAA=\n".repeat(SIGNATURES_MAX + 1)).into_bytes(), NoteError::TooLong),
        ] {
            assert_eq!(SignedNote::parse(&wrong).map(|_| ()), Err(error), "{}", String::from_utf8_lossy(&wrong));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (wrong, error) in [
            ("", KeyError::Form),
            ("example.com/foo+530d903a", KeyError::Form),
            ("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
            ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
            ("example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Id),
            ("example.com/foo+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Kind(6)),
            ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", KeyError::Form),
            ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ] {
            assert_eq!(wrong.parse::<VerifierKey>(), Err(error), "{wrong}");
        }
    }

    #[test]
    fn a_cosignature_covers_its_time_and_is_no_signature_of_a_note() {
        let key = NodeKey::generate();
        let name: KeyName = "witness.example/w1".parse().unwrap();
        let text = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let line = cosign(&name, &key, 1_679_315_147, text).unwrap();
        let witness = VerifierKey::new(name.clone(), KeyKind::Cosignature, key.public_key());
        assert_eq!(witness.verify(text, &line), Some(1_679_315_147));
        let mut later = line.clone();
        later.signature[7] ^= 1;
        assert_eq!(witness.verify(text, &later), None);
        let log = VerifierKey::new(name.clone(), KeyKind::Note, key.public_key());
        assert_ne!(log.id(), witness.id());
        assert_eq!(log.verify(text, &SignatureLine { key_id: log.id(), ..line }), None);
        assert_eq!(cosign(&name, &key, 1 << 63, text), None);
        assert_eq!(witness.to_string().parse(), Ok(witness));
    }
}
