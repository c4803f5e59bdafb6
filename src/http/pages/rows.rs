//! [`Row`]: something that a page says of one thing, for both forms of the page: told once, so that who reads in a terminal is told no less.

use maud::{Markup, html};

/// Words of one kind, and which that is.
pub(super) enum Piece {
    /// Words.
    Plain(String),
    /// All is well with what they say.
    Good(String),
    /// Somebody has to do something about what they say.
    Bad(String),
    /// They matter less than the others.
    Soft(String),
}

impl Piece {
    /// Words that matter to nobody in particular.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::Plain(text.into())
    }

    /// Words that all is well.
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self::Good(text.into())
    }

    /// Words that something isn't.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::Bad(text.into())
    }

    /// Words that matter less.
    pub(super) fn soft(text: impl Into<String>) -> Self {
        Self::Soft(text.into())
    }

    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Good(text) | Self::Bad(text) | Self::Soft(text) => text,
        }
    }

    fn html(&self) -> Markup {
        match self {
            Self::Plain(text) => html! { (text) },
            Self::Good(text) => html! { span class="good" { (text) } },
            Self::Bad(text) => html! { span class="bad" { (text) } },
            Self::Soft(text) => html! { span class="soft" { (text) } },
        }
    }
}

/// One line, in as many pieces as it has kinds of words.
pub(super) type RowLine = Vec<Piece>;

/// What there is to say of one thing.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) lines: Vec<RowLine>,
}

impl Row {
    /// A row of one line that is like any other.
    pub(super) fn plain(name: &str, said: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            lines: vec![vec![Piece::plain(said)]],
        }
    }

    /// For terminals: the name before the first line, and the others below it.
    pub(super) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| text(line));
        let lines: Vec<_> = lines.collect();
        format!("  {}: {}\n", self.name, lines.join("\n    "))
    }
}

/// Lines below one another.
pub(super) fn lines(lines: &[RowLine]) -> Markup {
    html! {
        @for (place, line) in lines.iter().enumerate() {
            @if place > 0 { br; }
            @for words in line { (words.html()) }
        }
    }
}

/// A line as text. No line of a page in a terminal may look like a setting of cargo: see [`HowTo`](super::how_to::HowTo).
pub(super) fn text(line: &[Piece]) -> String {
    let text: String = line.iter().map(Piece::text).collect();
    text.replace(" = ", "=")
}
