//! HTML to plain text.
//!
//! Works on the tokens and builds no tree: time and memory grow with the length of the page, whatever its nesting.

use std::{cell::RefCell, time::Instant};

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};
use url::Url;

/// How much is worked on between two looks at the clock and the wish to stop, in bytes.
const STEP_BYTES: usize = 4 * 1024;
/// The longest title that is kept, in characters.
const TITLE_CHARS_MAX: usize = 300;

/// What a page says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The content of its `title`, in one line.
    pub(crate) title: Option<String>,
    /// Its text: paragraphs apart, list items with a dash, no scripts, styles or comments.
    pub(crate) text: String,
}

/// Whether links are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// The text alone.
    Drop,
    /// `text (url)`, for http and https, with the whole URL.
    Keep,
}

/// Reads a page. `None` where `stop` said so or the deadline passed first.
pub(crate) fn read(
    html: &str,
    base: &Url,
    links: Links,
    deadline: Instant,
    stop: &dyn Fn() -> bool,
) -> Option<Page> {
    let writer = RefCell::new(Writer::new(base.clone(), links));
    let tokenizer = Tokenizer::new(Sink(writer), TokenizerOpts::default());
    let input = BufferQueue::default();
    let mut rest = html;
    while !rest.is_empty() {
        if stop() || Instant::now() >= deadline {
            return None;
        }
        let (step, after) = rest.split_at(rest.floor_char_boundary(STEP_BYTES.min(rest.len())));
        rest = after;
        input.push_back(StrTendril::from_slice(step));
        // It only ever comes back early for scripts, which the sink never announces.
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    Some(tokenizer.sink.0.into_inner().finish())
}

struct Sink(RefCell<Writer>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut writer = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return writer.open(&tag),
            Token::TagToken(tag) => writer.close(&tag.name),
            Token::CharacterTokens(text) => writer.text(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

struct Writer {
    base: Url,
    links: Links,
    text: String,
    title: Option<String>,
    /// The element whose content is skipped, and how deep we are in elements of that name.
    skipping: Option<(String, usize)>,
    in_title: bool,
    preformatted: usize,
    /// The target of the link we are in, and where its text began.
    link: Option<(String, usize)>,
    /// Line ends owed before the next word, at most two.
    owed_lines: usize,
    owed_space: bool,
}

impl Writer {
    fn new(base: Url, links: Links) -> Self {
        Self {
            base,
            links,
            text: String::new(),
            title: None,
            skipping: None,
            in_title: false,
            preformatted: 0,
            link: None,
            owed_lines: 0,
            owed_space: false,
        }
    }

    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        if let Some((skipped, depth)) = &mut self.skipping {
            if name == skipped && !tag.self_closing {
                *depth += 1;
            }
            return TokenSinkResult::Continue;
        }
        match name {
            "script" => return self.skip_raw(name, RawKind::ScriptData),
            "style" | "noembed" | "noframes" | "iframe" | "xmp" => {
                return self.skip_raw(name, RawKind::Rawtext);
            }
            "textarea" => return self.skip_raw(name, RawKind::Rcdata),
            "title" if self.title.is_none() => {
                self.in_title = true;
                self.title = Some(String::new());
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "svg" | "math" | "template" | "object" | "canvas" | "select" if !tag.self_closing => {
                self.skipping = Some((name.to_owned(), 1));
            }
            "a" => self.open_link(tag),
            "img" => self.image(tag),
            "br" => self.owe(1),
            "hr" => self.owe(2),
            "li" => {
                self.owe(1);
                self.word("- ");
            }
            "pre" => {
                self.owe(2);
                self.preformatted += 1;
            }
            "td" | "th" => self.owed_space = true,
            _ => self.owe(lines_around(name)),
        }
        TokenSinkResult::Continue
    }

    fn close(&mut self, name: &str) {
        if let Some((skipped, depth)) = &mut self.skipping {
            if name == skipped {
                *depth -= 1;
                if *depth == 0 {
                    self.skipping = None;
                }
            }
            return;
        }
        match name {
            "title" => self.in_title = false,
            "a" => self.close_link(),
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.owe(2);
            }
            "td" | "th" => {
                if self.owed_lines == 0 {
                    self.word(" |");
                    self.owed_space = true;
                }
            }
            _ => self.owe(lines_around(name)),
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipping.is_some() {
            return;
        }
        if self.in_title {
            if let Some(title) = &mut self.title {
                let room = TITLE_CHARS_MAX.saturating_sub(title.chars().count());
                title.extend(text.chars().take(room));
            }
            return;
        }
        if self.preformatted > 0 {
            self.settle();
            self.text.push_str(text);
            return;
        }
        let blank = |c: char| c.is_ascii_whitespace() || c == '\u{a0}';
        let mut words = text.split(blank).filter(|word| !word.is_empty()).peekable();
        if text.starts_with(blank) {
            self.owed_space = true;
        }
        while let Some(word) = words.next() {
            self.word(word);
            self.owed_space = words.peek().is_some() || text.ends_with(blank);
        }
    }

    fn skip_raw(&mut self, name: &str, kind: RawKind) -> TokenSinkResult<()> {
        self.skipping = Some((name.to_owned(), 1));
        TokenSinkResult::RawData(kind)
    }

    fn open_link(&mut self, tag: &Tag) {
        self.close_link();
        let target = attribute(tag, "href").filter(|_| self.links == Links::Keep);
        let target = target.and_then(|href| self.base.join(href.trim()).ok());
        let target = target.filter(|url| matches!(url.scheme(), "http" | "https"));
        self.link = target.map(|url| (url.to_string(), self.text.len()));
    }

    fn close_link(&mut self) {
        if let Some((target, start)) = self.link.take()
            && !self.text[start.min(self.text.len())..].trim().is_empty()
        {
            self.owed_space = true;
            self.word(&format!("({target})"));
        }
    }

    fn image(&mut self, tag: &Tag) {
        if let Some(alt) = attribute(tag, "alt").filter(|alt| !alt.trim().is_empty()) {
            self.text(alt);
        }
    }

    fn owe(&mut self, lines: usize) {
        self.owed_lines = self.owed_lines.max(lines);
    }

    fn word(&mut self, word: &str) {
        self.settle();
        self.text.push_str(word);
    }

    /// Pays the line ends or the space owed.
    fn settle(&mut self) {
        let dash = self.text.ends_with("\n- ") || self.text == "- ";
        if self.text.is_empty() || (dash && self.owed_lines > 0) {
        } else if self.owed_lines > 0 {
            self.text.truncate(self.text.trim_end_matches([' ', '|']).len());
            self.text.extend(std::iter::repeat_n('\n', self.owed_lines));
        } else if self.owed_space && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
        self.owed_lines = 0;
        self.owed_space = false;
    }

    fn finish(mut self) -> Page {
        self.close_link();
        let kept = self.text.trim_end_matches([' ', '\n', '|']).len();
        self.text.truncate(kept);
        let title = self.title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
        Page { title: title.filter(|title| !title.is_empty()), text: self.text }
    }
}

fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

/// How many line ends stand before and after an element: 2 for what makes a paragraph, 1 for what makes a line.
fn lines_around(name: &str) -> usize {
    match name {
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table" | "blockquote"
        | "section" | "article" | "header" | "footer" | "nav" | "aside" | "main" | "form" | "fieldset"
        | "figure" | "body" => 2,
        "div" | "tr" | "dt" | "dd" | "li" | "caption" | "figcaption" | "address" | "summary" | "details"
        | "option" | "legend" | "html" | "head" => 1,
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn check(html: &str, links: Links, expected: Expect) {
        let page = read(html, &Url::parse("http://a.test/b/c").unwrap(), links, soon(), &|| false).unwrap();
        expected.assert_eq(&format!("{:?}\n{}\n", page.title, page.text));
    }

    #[test]
    fn a_page_reads_like_a_page() {
        check(
            "<!doctype html><head><title> The\n shop &amp; more</title><style>p{}</style></head><body><!-- no -->\
             <h1>Hello</h1>  <p>One <b>bo</b>ld\n  word.<br>Next&nbsp;line &lt;ok&gt;<p>Two<ul><li>a</li><li>\
             <p>b</p></ul><table><tr><td>1</td><td>2</td></tr><tr><td>3<td>4</table><pre>x\n  y</pre>\
             <script>if (a < b) { '<p>no</p>' }</script><noscript><p>shown</noscript><svg><text>no</text></svg>\
             <img src=x alt='a picture'><textarea>no</textarea><select><option>no</select>end",
            Links::Drop,
            expect![[r#"
                Some("The shop & more")
                Hello

                One bold word.
                Next line <ok>

                Two

                - a
                - b

                1 | 2
                3 4

                x
                  y

                showna pictureend
            "#]],
        );
    }

    #[test]
    fn links_are_whole_and_only_of_the_web() {
        check(
            "See <a href='/d?e=1&amp;f'>the page</a>, <a href='other.html'>that</a>, <a href='javascript:x()'>js</a>, \
             <a href='mailto:a@b'>mail</a>, <a href='https://c.test/'></a><a name=x>none</a> <a href=q>open",
            Links::Keep,
            expect![[r#"
                None
                See the page (http://a.test/d?e=1&f), that (http://a.test/b/other.html), js, mail, none open (http://a.test/b/q)
            "#]],
        );
    }

    #[test]
    fn hostile_pages_end_and_do_not_nest() {
        for html in [
            "<div>".repeat(100_000),
            "<svg>".repeat(100_000) + "x",
            "<a href=x>".repeat(50_000),
            "<!--".repeat(100_000),
            "<script>".to_owned() + &"<".repeat(100_000),
            "&".repeat(100_000),
            "</p>".repeat(100_000),
            "<title>".to_owned() + &"t".repeat(100_000),
        ] {
            let base = Url::parse("http://a.test/").unwrap();
            let page = read(&html, &base, Links::Keep, soon(), &|| false).unwrap();
            assert!(page.title.is_none_or(|title| title.len() <= TITLE_CHARS_MAX), "{}", &html[..10]);
        }
    }

    #[test]
    fn it_stops_when_told_or_when_time_is_up() {
        let base = Url::parse("http://a.test/").unwrap();
        let html = "<p>x".repeat(10_000);
        assert_eq!(read(&html, &base, Links::Drop, soon(), &|| true), None);
        assert_eq!(read(&html, &base, Links::Drop, Instant::now(), &|| false), None);
    }
}
