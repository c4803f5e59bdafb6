//! [`SumFile`]: the small file that says the checksum of the one beside it.

use crate::domain::Sha256;

/// What a `.sha256` file says: the checksum, and after it perhaps the name of the file that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumFile {
    /// The file as it is.
    pub text: Box<str>,
    /// What it says.
    pub sha256: Sha256,
}

impl SumFile {
    /// The longest such file, in bytes.
    pub const MAX_LEN: usize = 1 << 10;

    /// Reads it. Rustup takes the first 64 characters (its `dist/download.rs`), and so does this, if nothing but a name comes after them.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::MAX_LEN {
            return Err(format!("it has more than {} bytes", Self::MAX_LEN));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let plain = |c: char| matches!(c, ' '..='~' | '\n' | '\r' | '\t');
        let (hash, rest) = text
            .split_at_checked(64)
            .filter(|_| text.chars().all(plain))
            .ok_or("it is no checksum")?;
        let sha256 = Sha256::parse(hash).map_err(|_| "it is no checksum".to_owned())?;
        match rest.chars().next() {
            None | Some(' ' | '\n' | '\r' | '\t') => Ok(Self {
                text: text.into(),
                sha256,
            }),
            Some(_) => Err("it is no checksum".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_may_have_a_name_after_it_and_nothing_else() {
        let sha256 = Sha256::of(b"a");
        for yes in [
            format!("{sha256}"),
            format!("{sha256}\n"),
            format!("{sha256}  channel-rust-stable.toml\n"),
            format!("{sha256} *rustup-init.exe\r\n"),
        ] {
            let read = SumFile::parse(yes.as_bytes()).expect("a checksum");
            assert_eq!((read.sha256, &*read.text), (sha256, &*yes));
        }
        for no in [
            String::new(),
            "<html>".repeat(20),
            format!("{sha256}a"),
            format!(" {sha256}"),
            format!("{sha256} \u{0}"),
            format!("{sha256} {}", "x".repeat(SumFile::MAX_LEN)),
        ] {
            assert!(SumFile::parse(no.as_bytes()).is_err(), "{no:?}");
        }
        assert!(SumFile::parse(&[0xff; 64]).is_err());
    }
}
