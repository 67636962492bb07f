//! The token without which a control interface that others can reach does nothing.

use std::fmt::Write as _;
use std::path::Path;

use subtle::ConstantTimeEq as _;

use crate::config::ControlToken;

/// Bytes of chance in a token of our own.
const FRESH_BYTES: usize = 24;
/// Letters of a token at least: what is shorter is guessed.
pub(super) const LETTERS_MIN: usize = 8;

/// What a request must have in `Authorization: Bearer`. It does not show.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token with this text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The token that a lab file means: the one it has, the content of a file (its first line), or
    /// a fresh one that nobody can guess.
    ///
    /// # Errors
    ///
    /// The file cannot be read or has none; the system has no randomness to give.
    pub fn of(config: &ControlToken) -> Result<Self, String> {
        match config {
            ControlToken::Text(text) => Ok(Self(text.clone())),
            ControlToken::File(path) => Self::read(path),
            ControlToken::Fresh => {
                let mut bytes = [0; FRESH_BYTES];
                getrandom::fill(&mut bytes).map_err(|fault| format!("no randomness: {fault}"))?;
                let mut text = String::with_capacity(2 * FRESH_BYTES);
                for byte in bytes {
                    let _ = write!(text, "{byte:02x}");
                }
                Ok(Self(text))
            }
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|fault| format!("the token file {shown} cannot be read: {fault}"))?;
        let line = text.lines().next().unwrap_or_default().trim();
        if line.len() < LETTERS_MIN {
            return Err(format!(
                "the token file {shown} has no token of {LETTERS_MIN} letters in its first line"
            ));
        }
        Ok(Self(line.to_owned()))
    }

    /// Its text, to be told to whom may know it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an Authorization header has this token; the time it takes tells nothing.
    pub(super) fn is_in(&self, authorization: Option<&[u8]>) -> bool {
        let Some((scheme, given)) = authorization.and_then(|it| it.split_at_checked(7)) else {
            return false;
        };
        let given = given.trim_ascii();
        scheme.eq_ignore_ascii_case(b"Bearer ") && given.ct_eq(self.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_opens() {
        let token = Token::new("correct horse".to_owned());
        let opens = |header: Option<&str>| token.is_in(header.map(str::as_bytes));
        assert!(opens(Some("Bearer correct horse")));
        assert!(opens(Some("bearer  correct horse ")));
        for wrong in
            ["Bearer correct hors", "Bearer correct horse2", "Basic correct horse", "", "B"]
        {
            assert!(!opens(Some(wrong)), "{wrong}");
        }
        assert!(!opens(None));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn fresh_tokens_differ() {
        let fresh = || Token::of(&ControlToken::Fresh).expect("chance");
        let (one, other) = (fresh(), fresh());
        assert_eq!(one.as_str().len(), 2 * FRESH_BYTES);
        assert_ne!(one.as_str(), other.as_str());
    }

    #[test]
    fn a_token_file_without_a_token_is_said() {
        let fault = Token::of(&ControlToken::File("/nowhere/token".into())).expect_err("no file");
        assert!(fault.starts_with("the token file /nowhere/token cannot be read"), "{fault}");
    }
}
