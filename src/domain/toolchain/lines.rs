//! [`TomlLines`]: a channel manifest's TOML, statement by statement, borrowed from its text. A manifest has tens of thousands of lines of which three in a thousand
//! matter; read this way it takes no memory beside its own.
//!
//! What manifests are written in is read exactly: tables, keys, strings, truth values and lists of strings. Other values are passed over as a whole.

use std::borrow::Cow;

/// A table's path is read so deep. None that matters is deeper, and what is beyond takes no memory.
const DEEPEST: usize = 8;
/// A list of so many strings is read; a longer one is passed over as a whole. A string may have two bytes, and what is known of it has 24.
const LONGEST: usize = 1_000;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TomlEvent<'a> {
    /// `[a.b]`, or `[[a.b]]`, or the first eight keys of a longer one: what follows belongs to it.
    Table(Vec<Cow<'a, str>>),
    /// `key = "text"`.
    Text(Cow<'a, str>, Cow<'a, str>),
    /// `key = true`.
    Truth(Cow<'a, str>, bool),
    /// `key = ["text", "text"]`.
    Texts(Cow<'a, str>, Vec<Cow<'a, str>>),
    /// A key with a value of another kind, or in a form that manifests don't have.
    Other,
}

/// The statements of a text, in their order.
pub struct TomlLines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> TomlLines<'a> {
    /// Those of `text`.
    pub fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next statement; `None` after the last one.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with the text, and in which line.
    pub fn next_event(&mut self) -> Result<Option<TomlEvent<'a>>, String> {
        self.skip_blank();
        let read = match self.peek() {
            None => return Ok(None),
            Some(b'[') => self.table(),
            Some(_) => self.statement(),
        };
        let read = read.and_then(|event| self.line_end().map(|()| event));
        read.map(Some).ok_or_else(|| {
            let before = self.text.as_bytes().iter().take(self.at);
            let line = 1 + before.filter(|b| **b == b'\n').count();
            format!("its line {line} can't be read")
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn skip_while(&mut self, is_meant: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&is_meant) {
            self.at += 1;
        }
    }

    fn skip_spaces(&mut self) {
        self.skip_while(|b| b == b' ' || b == b'\t');
    }

    fn skip_comment(&mut self) {
        if self.peek() == Some(b'#') {
            self.skip_while(|b| b != b'\n');
        }
    }

    /// Empty lines and comments.
    fn skip_blank(&mut self) {
        loop {
            let before = self.at;
            self.skip_while(|b| b.is_ascii_whitespace());
            self.skip_comment();
            if self.at == before {
                return;
            }
        }
    }

    /// Nothing but a comment may come in this line.
    fn line_end(&mut self) -> Option<()> {
        self.skip_spaces();
        self.skip_comment();
        if self.rest().starts_with("\r\n") {
            self.at += 1;
        }
        match self.peek() {
            None => Some(()),
            Some(_) => self.take(b'\n'),
        }
    }

    fn table(&mut self) -> Option<TomlEvent<'a>> {
        self.take(b'[')?;
        let is_list = self.take(b'[').is_some();
        let mut path = Vec::new();
        loop {
            self.skip_spaces();
            let key = self.key()?;
            if path.len() < DEEPEST {
                path.push(key);
            }
            self.skip_spaces();
            if self.take(b'.').is_none() {
                break;
            }
        }
        self.take(b']')?;
        if is_list {
            self.take(b']')?;
        }
        Some(TomlEvent::Table(path))
    }

    fn key(&mut self) -> Option<Cow<'a, str>> {
        match self.peek()? {
            b'"' | b'\'' => self.string(),
            _ => {
                let start = self.at;
                self.skip_while(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                let key = self.text.get(start..self.at)?;
                (!key.is_empty()).then_some(Cow::Borrowed(key))
            }
        }
    }

    fn statement(&mut self) -> Option<TomlEvent<'a>> {
        let key = self.key()?;
        self.skip_spaces();
        let mut is_deep = false;
        while self.take(b'.').is_some() {
            is_deep = true;
            self.skip_spaces();
            self.key()?;
            self.skip_spaces();
        }
        self.take(b'=')?;
        self.skip_spaces();
        let event = match self.peek()? {
            _ if self.rest().starts_with("\"\"\"") || self.rest().starts_with("'''") => {
                self.skip_value().map(|()| TomlEvent::Other)
            }
            b'"' | b'\'' => self.string().map(|text| TomlEvent::Text(key, text)),
            b'[' => {
                let start = self.at;
                match self.strings() {
                    Some(texts) => Some(TomlEvent::Texts(key, texts)),
                    None => {
                        self.at = start;
                        self.skip_value().map(|()| TomlEvent::Other)
                    }
                }
            }
            _ => {
                let start = self.at;
                self.skip_value()?;
                match self.text.get(start..self.at)?.trim_end() {
                    "true" => Some(TomlEvent::Truth(key, true)),
                    "false" => Some(TomlEvent::Truth(key, false)),
                    _ => Some(TomlEvent::Other),
                }
            }
        };
        match is_deep {
            true => event.map(|_| TomlEvent::Other),
            false => event,
        }
    }

    /// A string of one line, basic or literal.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let quote = self.peek()?;
        self.at += 1;
        let start = self.at;
        let mut is_plain = true;
        loop {
            match self.peek()? {
                b'\n' | b'\r' => return None,
                b'\\' if quote == b'"' => {
                    is_plain = false;
                    self.at += 2;
                }
                b if b == quote => break,
                _ => self.at += 1,
            }
        }
        let within = self.text.get(start..self.at)?;
        self.at += 1;
        match is_plain {
            true => Some(Cow::Borrowed(within)),
            false => unescaped(within).map(Cow::Owned),
        }
    }

    /// A list that holds nothing but strings.
    fn strings(&mut self) -> Option<Vec<Cow<'a, str>>> {
        self.take(b'[')?;
        let mut texts = Vec::new();
        loop {
            self.skip_blank();
            if self.take(b']').is_some() {
                return Some(texts);
            }
            if self.rest().starts_with("\"\"\"") || self.rest().starts_with("'''") {
                return None;
            }
            match self.peek()? {
                b'"' | b'\'' if texts.len() < LONGEST => texts.push(self.string()?),
                _ => return None,
            }
            self.skip_blank();
            if self.take(b',').is_none() {
                self.take(b']')?;
                return Some(texts);
            }
        }
    }

    /// Whatever comes up to the end of the value: of a line, or of the brackets and long strings that are open there.
    fn skip_value(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            let long = ["\"\"\"", "'''"]
                .into_iter()
                .find(|q| self.rest().starts_with(q));
            if let Some(quotes) = long {
                self.skip_long(quotes)?;
                continue;
            }
            match self.peek() {
                None => return (open == 0).then_some(()),
                Some(b'\n' | b'#') if open == 0 => return Some(()),
                Some(b'\r') if open == 0 && self.rest().starts_with("\r\n") => return Some(()),
                Some(b'#') => self.skip_comment(),
                Some(b'"' | b'\'') => {
                    self.string()?;
                }
                Some(b'[' | b'{') => {
                    open += 1;
                    self.at += 1;
                }
                Some(b']' | b'}') => {
                    open = open.checked_sub(1)?;
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// A string of several lines.
    fn skip_long(&mut self, quotes: &str) -> Option<()> {
        self.at += quotes.len();
        while !self.rest().starts_with(quotes) {
            let is_escape = self.peek()? == b'\\' && quotes.starts_with('"');
            self.at += 1 + usize::from(is_escape);
            while self.at < self.text.len() && !self.text.is_char_boundary(self.at) {
                self.at += 1;
            }
        }
        self.at += quotes.len();
        // Up to two quotes may stand right before the end.
        let quote = quotes.as_bytes()[0];
        for _ in 0..2 {
            if self.peek() == Some(quote) {
                self.at += 1;
            }
        }
        Some(())
    }
}

/// The text that a basic string stands for.
fn unescaped(within: &str) -> Option<String> {
    let mut text = String::with_capacity(within.len());
    let mut characters = within.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let digits = match characters.next()? {
            'b' => {
                text.push('\u{8}');
                continue;
            }
            't' => {
                text.push('\t');
                continue;
            }
            'n' => {
                text.push('\n');
                continue;
            }
            'f' => {
                text.push('\u{c}');
                continue;
            }
            'r' => {
                text.push('\r');
                continue;
            }
            'e' => {
                text.push('\u{1b}');
                continue;
            }
            c @ ('"' | '\\') => {
                text.push(c);
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let mut number = 0_u32;
        for _ in 0..digits {
            number = number.checked_mul(16)? + characters.next()?.to_digit(16)?;
        }
        text.push(char::from_u32(number)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(text: &str) -> Result<Vec<TomlEvent<'_>>, String> {
        let mut lines = TomlLines::of(text);
        let mut events = Vec::new();
        while let Some(event) = lines.next_event()? {
            events.push(event);
        }
        Ok(events)
    }

    /// Two bytes made 24 each, and twice that while the list of them grew.
    #[test]
    fn a_path_or_a_list_without_end_takes_no_memory() {
        let deep = format!("[{}b]\n", "a.".repeat(1_000_000));
        let read = events(&deep).expect("a table");
        assert_eq!(read, [TomlEvent::Table(vec!["a".into(); DEEPEST])]);
        let list = |count| format!("x = [{}]\n", "\"\",".repeat(count));
        let (all, many) = (list(LONGEST), list(1_000_000));
        let read = events(&all).expect("a list");
        assert_eq!(
            read,
            [TomlEvent::Texts("x".into(), vec!["".into(); LONGEST])]
        );
        assert_eq!(events(&many), Ok(vec![TomlEvent::Other]));
    }

    #[test]
    fn a_manifests_statements_are_read() {
        let text = "# a comment\nmanifest-version = \"2\"\r\n\n[pkg.cargo.target.\"*\"] # here\navailable = true\n url = 'https://a/b'\n\
            list = [\"a\", 'b', # c\n  \"c\\u0041\",\n]\n[[ a . b ]]\nn = 17\nt = { a = \"}\", b = [1] }\nl = [1,\n2]\nm = \"\"\"a\n\"b\"\"\"\"\nd.e = \"x\"\nq = \"a\\\"\\n\"";
        let texts = |of: &[&str]| {
            of.iter()
                .map(|t| Cow::Owned((*t).to_owned()))
                .collect::<Vec<_>>()
        };
        let expected = vec![
            TomlEvent::Text("manifest-version".into(), "2".into()),
            TomlEvent::Table(texts(&["pkg", "cargo", "target", "*"])),
            TomlEvent::Truth("available".into(), true),
            TomlEvent::Text("url".into(), "https://a/b".into()),
            TomlEvent::Texts("list".into(), texts(&["a", "b", "cA"])),
            TomlEvent::Table(texts(&["a", "b"])),
            TomlEvent::Other,
            TomlEvent::Other,
            TomlEvent::Other,
            TomlEvent::Other,
            TomlEvent::Other,
            TomlEvent::Text("q".into(), "a\"\n".into()),
        ];
        assert_eq!(events(text), Ok(expected));
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        for (text, line) in [
            ("<html>", 1),
            ("a = \"b\n", 1),
            ("a = 1\n[b\n", 2),
            ("a = \"b\" c\n", 1),
            ("a = [\"b\"\n", 2),
            ("\na\n", 2),
            ("a = \"\\q\"", 1),
        ] {
            let said = events(text).expect_err(text);
            assert_eq!(said, format!("its line {line} can't be read"), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "([a-z\"'=\\[\\]{}#\\\\.\n\r é]|\"\"\"|''' ){0,80}") {
            let _ = events(&text);
        }

        /// What another reader of TOML takes for strings, this one does.
        #[test]
        fn it_reads_what_others_write(keys in proptest::collection::btree_map("[a-z\"* .]{1,8}", "\\PC{0,20}", 0..8), list in proptest::collection::vec("\\PC{0,8}", 0..4)) {
            let mut table: toml::Table = keys.iter().map(|(k, v)| (k.clone(), toml::Value::String(v.clone()))).collect();
            let texts: Vec<_> = list.iter().cloned().map(toml::Value::String).collect();
            table.insert("zlist".to_owned(), toml::Value::Array(texts));
            let text = toml::to_string(&table).expect("written");
            for event in events(&text).expect("read") {
                match event {
                    TomlEvent::Text(key, value) => prop_assert_eq!(keys.get(&*key).map(String::as_str), Some(&*value)),
                    TomlEvent::Texts(key, values) => {
                        prop_assert_eq!(&*key, "zlist");
                        prop_assert!(values.iter().map(|v| &**v).eq(list.iter().map(String::as_str)));
                    }
                    // Written in several lines.
                    TomlEvent::Other => {}
                    TomlEvent::Table(_) | TomlEvent::Truth(..) => prop_assert!(false),
                }
            }
        }
    }
}
