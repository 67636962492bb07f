//! A YAML document as a tree whose every value knows its place and keeps its text as written (an
//! IMSI stays `001010…`), and a reader that walks it and collects all mistakes.

use serde_yaml::granit_parser::{Event, Parser, Span};

use super::pieces::read_block;
use super::plain::Block;
use super::problem::{Problems, nearest};
use crate::ids::Seed;
use crate::map::{Map, map};

/// A place in a file; line and column count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
    /// Byte offset.
    pub start: usize,
    /// Byte offset behind the end.
    pub end: usize,
}

impl Position {
    fn of(span: &Span) -> Self {
        let clip = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let start = span.start.byte_offset().unwrap_or_default();
        Self {
            line: clip(span.start.line()),
            column: clip(span.start.col()) + 1,
            start,
            end: span.end.byte_offset().unwrap_or(start),
        }
    }

    /// The same place in a text that has so many lines and bytes before.
    const fn behind(self, (lines, bytes): (u32, usize)) -> Self {
        Self { line: self.line + lines, start: self.start + bytes, end: self.end + bytes, ..self }
    }

    /// The bytes to underline: the first line of the value, at least nothing, inside the source.
    #[must_use]
    pub fn byte_range(&self, source: &str) -> std::ops::Range<usize> {
        let start = self.start.min(source.len());
        let end = self.end.clamp(start, source.len());
        let text = source.get(start..end).unwrap_or_default();
        let line = text.split(['\n', '\r']).next().unwrap_or_default();
        start..start + line.trim_end().len()
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it stands.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
    /// The text of a scalar, escapes resolved.
    Scalar(String),
    /// A sequence.
    Seq(Vec<Node>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where the key stands.
    pub at: Position,
    /// The key.
    pub key: String,
    /// Its value.
    pub node: Node,
}

/// Values in one file at most; a lab of 100,000 written-out subscribers has 1.5 million.
const NODES_MAX: usize = 20_000_000;
/// Nesting at most.
const DEPTH_MAX: usize = 64;

/// Reads a YAML document into a tree.
///
/// # Errors
///
/// The first place that is not YAML, a duplicate key, an alias (which these files do not need), or
/// a document that is too large or too deep.
pub fn read_tree(source: &str) -> Result<Node, Problems> {
    read_with(source, None)
}

/// As [`read_tree`], but what stands in one key of the document is handed out piece by piece while
/// it is read, and is an empty list or mapping in the tree: a list of 100,000 never is in memory as
/// a whole.
///
/// # Errors
///
/// As [`read_tree`].
pub(super) fn read_tree_in_pieces(
    source: &str,
    pieces: &mut dyn TakePieces,
) -> Result<Node, Problems> {
    let short = Block::find(source).and_then(|block| read_block(source, block, pieces));
    short.unwrap_or_else(|| read_with(source, Some(pieces)))
}

/// Takes what stands in one key of a document.
pub(super) trait TakePieces {
    /// Whether it takes what stands in `key`; `before` is what the document has above it.
    fn wants(&mut self, key: &str, before: &[Entry]) -> bool;
    /// Takes an entry of a mapping.
    fn entry(&mut self, entry: &Entry);
    /// Takes an item of a list.
    fn item(&mut self, item: &Node);
}

fn read_with(source: &str, pieces: Option<&mut dyn TakePieces>) -> Result<Node, Problems> {
    let mut builder = Builder { count: 0, problems: Problems::default(), pieces, from: (0, 0) };
    let mut parser = Parser::new_from_str(source);
    let node = builder.document(&mut parser);
    let mut problems = builder.problems;
    match node {
        Some(node) if problems.is_empty() => Ok(node),
        _ => {
            if problems.is_empty() {
                problems.push(Position::default(), "the file is empty", None);
            }
            Err(problems)
        }
    }
}

/// Reads a part of a document that has so many lines and bytes before it.
pub(super) fn read_part(text: &str, from: (u32, usize)) -> Result<Node, Problems> {
    let mut builder = Builder { count: 0, problems: Problems::default(), pieces: None, from };
    match builder.document(&mut Parser::new_from_str(text)) {
        Some(node) if builder.problems.is_empty() => Ok(node),
        _ => Err(builder.problems),
    }
}

/// What is mostly meant where a file is not YAML.
fn yaml_help(fault: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 3] = [
        ("mapping values", "a text with a colon and a space in it stands in quotation marks"),
        ("quoted scalar", "a quotation mark may be missing at the end"),
        ("tabs", "indent with spaces"),
    ];
    KNOWN.iter().find(|(part, _)| fault.contains(part)).map(|(_, help)| *help)
}

struct Builder<'a> {
    count: usize,
    problems: Problems,
    pieces: Option<&'a mut dyn TakePieces>,
    /// Lines and bytes of the file before what is read.
    from: (u32, usize),
}

type Events<'input> = Parser<'input, serde_yaml::granit_parser::StrInput<'input>>;

impl Builder<'_> {
    fn next<'i>(&mut self, parser: &mut Events<'i>) -> Option<(Event<'i>, Position)> {
        match parser.next_event()? {
            Ok((event, span)) => Some((event, Position::of(&span).behind(self.from))),
            Err(fault) => {
                let marker = fault.marker();
                let clip = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
                let start = marker.byte_offset().unwrap_or_default();
                let at = Position {
                    line: clip(marker.line()),
                    column: clip(marker.col()) + 1,
                    start,
                    end: start,
                };
                let at = at.behind(self.from);
                let help = yaml_help(&fault.info()).map(str::to_owned);
                self.problems.push(at, format!("not YAML: {}", fault.info()), help);
                None
            }
        }
    }

    fn document(&mut self, parser: &mut Events<'_>) -> Option<Node> {
        loop {
            let (event, at) = self.next(parser)?;
            if event.is_node() {
                return self.node(event, at, parser, 0);
            }
            if matches!(event, Event::StreamEnd) {
                return None;
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'_>,
        at: Position,
        parser: &mut Events<'_>,
        depth: usize,
    ) -> Option<Node> {
        self.count += 1;
        if self.count > NODES_MAX || depth > DEPTH_MAX {
            self.problems.push(at, "the file is too large or nested too deep", None);
            return None;
        }
        let value = match event {
            Event::Scalar(text, ..) => Value::Scalar(text.into_owned()),
            Event::SequenceStart(..) => self.sequence(parser, depth)?,
            Event::MappingStart(..) => self.mapping(parser, depth)?,
            _ => {
                self.problems.push(at, "aliases are not used in these files", None);
                return None;
            }
        };
        Some(Node { at, value })
    }

    fn sequence(&mut self, parser: &mut Events<'_>, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while let Some((event, at)) = self.item(parser)? {
            items.push(self.node(event, at, parser, depth + 1)?);
        }
        Some(Value::Seq(items))
    }

    /// The start of the next item of a sequence.
    fn item<'i>(&mut self, parser: &mut Events<'i>) -> Option<Option<(Event<'i>, Position)>> {
        loop {
            let (event, at) = self.next(parser)?;
            if matches!(event, Event::SequenceEnd) {
                return Some(None);
            }
            if event.is_node() {
                return Some(Some((event, at)));
            }
        }
    }

    fn mapping(&mut self, parser: &mut Events<'_>, depth: usize) -> Option<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = Keys::default();
        while let Some((key, at)) = self.key(parser)? {
            keys.check(&key, at, &entries, &mut self.problems);
            let (event, value_at) = self.value(parser)?;
            let wanted = self.pieces.as_mut().filter(|_| depth == 0);
            let node = if wanted.is_some_and(|it| it.wants(&key, &entries)) {
                self.in_pieces(event, value_at, parser)?
            } else {
                self.node(event, value_at, parser, depth + 1)?
            };
            entries.push(Entry { at, key, node });
        }
        Some(Value::Map(entries))
    }

    /// The next key of a mapping.
    fn key(&mut self, parser: &mut Events<'_>) -> Option<Option<(String, Position)>> {
        loop {
            let (event, at) = self.next(parser)?;
            if matches!(event, Event::MappingEnd) {
                return Some(None);
            }
            if !event.is_node() {
                continue;
            }
            let Event::Scalar(key, ..) = event else {
                self.problems.push(at, "a key must be a word", None);
                return None;
            };
            return Some(Some((key.into_owned(), at)));
        }
    }

    fn value<'i>(&mut self, parser: &mut Events<'i>) -> Option<(Event<'i>, Position)> {
        loop {
            let (event, at) = self.next(parser)?;
            if event.is_node() {
                return Some((event, at));
            }
        }
    }

    /// A list or mapping whose pieces are handed out; what stays is an empty one.
    fn in_pieces(
        &mut self,
        event: Event<'_>,
        at: Position,
        parser: &mut Events<'_>,
    ) -> Option<Node> {
        const DEPTH: usize = 2;
        let value = match event {
            Event::MappingStart(..) => {
                let mut keys = Keys::of_many();
                while let Some((key, key_at)) = self.key(parser)? {
                    keys.check(&key, key_at, &[], &mut self.problems);
                    let (event, value_at) = self.value(parser)?;
                    let node = self.node(event, value_at, parser, DEPTH)?;
                    if let Some(pieces) = &mut self.pieces {
                        pieces.entry(&Entry { at: key_at, key, node });
                    }
                }
                Value::Map(Vec::new())
            }
            Event::SequenceStart(..) => {
                while let Some((event, item_at)) = self.item(parser)? {
                    let item = self.node(event, item_at, parser, DEPTH)?;
                    if let Some(pieces) = &mut self.pieces {
                        pieces.item(&item);
                    }
                }
                Value::Seq(Vec::new())
            }
            other => return self.node(other, at, parser, 1),
        };
        Some(Node { at, value })
    }
}

/// The keys of one mapping, so that none stands twice. A short mapping is looked through.
#[derive(Default)]
pub(super) struct Keys {
    lines: Option<Map<String, u32>>,
}

impl Keys {
    /// Mappings up to this length are looked through.
    const SHORT: usize = 16;

    /// Keys of a mapping that will be long.
    pub(super) fn of_many() -> Self {
        Self { lines: Some(map(&Seed([0; 32]))) }
    }

    /// Tells of a key that was there before; `entries` are those that came so far.
    pub(super) fn check(
        &mut self,
        key: &str,
        at: Position,
        entries: &[Entry],
        problems: &mut Problems,
    ) {
        let first = match &mut self.lines {
            None if entries.len() < Self::SHORT => {
                entries.iter().find(|entry| entry.key == key).map(|entry| entry.at.line)
            }
            lines => {
                let lines = lines.get_or_insert_with(|| {
                    let mut lines = map(&Seed([0; 32]));
                    lines.extend(entries.iter().map(|it| (it.key.clone(), it.at.line)));
                    lines
                });
                lines.insert(key.to_owned(), at.line)
            }
        };
        if let Some(line) = first {
            problems.push(at, format!("`{key}` stands twice, first in line {line}"), None);
        }
    }
}

impl Node {
    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            Value::Map(_) | Value::Seq(_) => None,
        }
    }

    /// What it is, for error texts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.value {
            Value::Map(_) => "a mapping",
            Value::Scalar(_) => "a value",
            Value::Seq(_) => "a list",
        }
    }
}

/// Reads the keys of one mapping: what was not asked for is a mistake.
#[derive(Debug)]
pub struct Reader<'a> {
    at: Position,
    entries: &'a [Entry],
    known: Vec<&'static str>,
    what: &'static str,
    /// Whether it is a mapping at all.
    is_mapping: bool,
}

impl<'a> Reader<'a> {
    /// Starts reading `node`, which must be a mapping describing `what`.
    pub fn new(node: &'a Node, what: &'static str, problems: &mut Problems) -> Self {
        let mut is_mapping = true;
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Scalar(text) if text.is_empty() => &[],
            Value::Scalar(_) | Value::Seq(_) => {
                let text = format!("{what} must be a mapping, here is {}", node.kind());
                problems.push(node.at, text, None);
                is_mapping = false;
                &[]
            }
        };
        Self { at: node.at, entries, known: Vec::new(), what, is_mapping }
    }

    /// The value of `key`, if it is there.
    pub fn optional(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The value of `key`, which must be there.
    pub fn required(&mut self, key: &'static str, problems: &mut Problems) -> Option<&'a Node> {
        let node = self.optional(key);
        if node.is_none() && self.is_mapping {
            let text = format!("{} needs `{key}`", self.what);
            problems.push(self.at, text, None);
        }
        node
    }

    /// The value of `key` read by `read`, or `default` where it is absent or wrong.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        match self.optional(key) {
            None => default,
            Some(node) => scalar(node, problems, read).unwrap_or(default),
        }
    }

    /// Reports every key that was not asked for.
    pub fn finish(self, problems: &mut Problems) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let text = format!("unknown key `{}` in {}", entry.key, self.what);
            let near = nearest(&entry.key, self.known.iter().copied());
            let help = near.map_or_else(
                || format!("known here: {}", self.known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            problems.push(entry.at, text, Some(help));
        }
    }
}

/// Reads a scalar by `read`, whose error text is reported at the value.
pub(super) fn scalar<T>(
    node: &Node,
    problems: &mut Problems,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let Some(text) = node.text() else {
        problems.push(node.at, format!("here must be a value, not {}", node.kind()), None);
        return None;
    };
    read(text).map_err(|fault| problems.push(node.at, fault, None)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_place() {
        let tree = read_tree("a: 001\nb:\n  - x: \"y z\"\n").expect("reads");
        let Value::Map(entries) = &tree.value else { panic!("mapping") };
        assert_eq!(entries[0].node.text(), Some("001"));
        assert_eq!((entries[0].node.at.line, entries[0].node.at.column), (1, 4));
        assert_eq!((entries[1].at.line, entries[1].at.column), (2, 1));
    }

    /// Gives each piece in words.
    #[derive(Default)]
    struct Heard(Vec<String>);

    impl TakePieces for Heard {
        fn wants(&mut self, key: &str, before: &[Entry]) -> bool {
            key == "many" && !before.is_empty()
        }
        fn entry(&mut self, entry: &Entry) {
            let at = entry.node.at;
            self.0.push(format!("{} {}:{}", entry.key, at.line, at.column));
        }
        fn item(&mut self, item: &Node) {
            self.0.push(format!("{} {}:{}", item.kind(), item.at.line, item.at.column));
        }
    }

    #[test]
    fn a_long_list_is_handed_out_in_pieces_with_their_places() {
        for (source, expected) in [
            ("a: 1\nmany:\n  x: {y: 1}\n  z: [2]\nb: 2\n", &["x 3:6", "z 4:6"][..]),
            ("a: 1\nmany:\n  - x: 1\n  - [2]\nb: 2\n", &["a mapping 3:5", "a list 4:5"]),
            ("a: 1\nmany: none\nb: 2\n", &[]),
            ("many: {x: 1}\na: 1\nb: 2\n", &[]),
        ] {
            let mut heard = Heard::default();
            let tree = read_tree_in_pieces(source, &mut heard).expect("reads");
            assert_eq!(heard.0, expected, "{source}");
            let Value::Map(entries) = &tree.value else { panic!("mapping") };
            assert_eq!(entries.len(), 3);
            assert_eq!(entries[2].node.at, read_tree(source).expect("reads").entry(2).node.at);
        }
        let twice = "a: 1\nmany:\n  x: 1\n  y: 2\n  x: 3\n";
        let faults = read_tree_in_pieces(twice, &mut Heard::default()).expect_err("twice");
        assert_eq!(faults.0[0].text, "`x` stands twice, first in line 3");
        assert_eq!((faults.0[0].at.line, faults.0[0].at.column), (5, 3));
    }

    impl Node {
        fn entry(&self, number: usize) -> &Entry {
            let Value::Map(entries) = &self.value else { panic!("mapping") };
            &entries[number]
        }
    }

    #[test]
    fn a_long_mapping_has_no_key_twice_either() {
        let mut source: String = (0..40).map(|number| format!("k{number}: 1\n")).collect();
        assert!(read_tree(&source).is_ok());
        source += "k3: 2\nk30: 2\n";
        let faults = read_tree(&source).expect_err("twice");
        let said: Vec<&str> = faults.0.iter().map(|fault| fault.text.as_str()).collect();
        assert_eq!(
            said,
            ["`k3` stands twice, first in line 4", "`k30` stands twice, first in line 31"]
        );
    }

    #[test]
    fn duplicate_keys_and_bad_yaml_are_named_with_their_place() {
        let twice = read_tree("a: 1\nb: 2\na: 3\n").expect_err("twice");
        assert_eq!(twice.0[0].text, "`a` stands twice, first in line 1");
        assert_eq!((twice.0[0].at.line, twice.0[0].at.column), (3, 1));
        let bad = read_tree("a: [1, 2\nb: }\n").expect_err("not yaml");
        assert!(bad.0[0].text.starts_with("not YAML"), "{bad:?}");
    }

    #[test]
    fn every_unknown_key_is_reported_with_the_nearest_known_one() {
        let tree = read_tree("lisen: 1\nrole: x\nfoo: 2\n").expect("reads");
        let mut problems = Problems::default();
        let mut reader = Reader::new(&tree, "a node", &mut problems);
        let _ = reader.optional("role");
        let _ = reader.required("listen", &mut problems);
        reader.finish(&mut problems);
        let texts: Vec<&str> = problems.0.iter().map(|problem| problem.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "a node needs `listen`",
                "unknown key `lisen` in a node",
                "unknown key `foo` in a node"
            ]
        );
        assert_eq!(problems.0[1].help.as_deref(), Some("did you mean `listen`?"));
    }
}
