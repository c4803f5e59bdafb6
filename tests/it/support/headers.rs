//! Header fields of one message: in the order they came, names in lower case.

#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }

    /// The first value of that field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All values of that field, in their order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.iter().filter(move |(field, _)| *field == name);
        values.map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl From<&[httparse::Header<'_>]> for Headers {
    /// A value that isn't UTF-8 is read leniently: a test is to fail at its assertion, not in the
    /// reader.
    fn from(parsed: &[httparse::Header<'_>]) -> Headers {
        let mut headers = Headers::default();
        for header in parsed {
            headers.push(header.name, String::from_utf8_lossy(header.value));
        }
        headers
    }
}

impl From<&[(&str, &str)]> for Headers {
    fn from(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            headers.push(name, *value);
        }
        headers
    }
}
