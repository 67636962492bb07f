//! A short way through long blocks of a lab file. A list of 100,000 subscribers is written by
//! programs, in the plainest YAML there is: keys, words, texts in double quotes, and flow lists and
//! mappings on one line. Such entries are read here, several times as fast as by the YAML reader;
//! each other entry goes to that reader alone, and a block that is not clearly made of entries goes
//! to it with the whole file. What comes out is the same to the last column (see the tests).

use super::tree::{Entry, Node, Position, Value};

/// The block of the last key of a document: lines that are indented more than the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The key that the block belongs to.
    pub(super) key: &'a str,
    /// Where its first line starts.
    pub(super) start: usize,
    /// The number of that line, from 1.
    pub(super) line: u32,
    /// The spaces before each entry.
    pub(super) indent: usize,
    /// Its entries begin with `- `.
    pub(super) is_list: bool,
}

/// An entry of a block as it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Its lines, with what follows them up to the next entry.
    pub(super) text: &'a str,
    /// Where it starts in the file.
    pub(super) start: usize,
    /// The number of its first line.
    pub(super) line: u32,
}

/// Blocks shorter than this gain nothing.
const LONG: usize = 65_536;
/// Flow lists and mappings inside each other at most, for a plain entry.
const DEPTH_MAX: usize = 8;

impl<'a> Block<'a> {
    /// The last block of a document, if it is long and clearly made of entries.
    pub(super) fn find(source: &'a str) -> Option<Self> {
        let mut at = source.len();
        // The last line that is not indented is the key.
        let (key, start) = loop {
            let before = source.get(..at)?.strip_suffix('\n').unwrap_or(source.get(..at)?);
            let from = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = before.get(from..)?;
            if !matches!(line.bytes().next(), None | Some(b' ' | b'#')) {
                break (line.strip_suffix(':')?, at);
            }
            if from == 0 {
                return None;
            }
            at = from;
        };
        let block = source.get(start..)?;
        let fine = is_word(key) && block.len() >= LONG && block.is_ascii();
        let head = source.get(..start)?;
        let line = u32::try_from(head.bytes().filter(|byte| *byte == b'\n').count()).ok()?;
        let first = block.lines().find(|line| !is_blank(line)).filter(|_| fine)?;
        let indent = indent_of(first);
        let is_list = first.get(indent..)?.starts_with("- ");
        let starts = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'"' | b'\'');
        let own = |text: &str| match is_list {
            true => text.starts_with("- "),
            false => text.bytes().next().is_some_and(starts),
        };
        let fits = |line: &str| {
            let deep = indent_of(line);
            is_blank(line)
                || deep > indent
                || (deep == indent && line.get(indent..).is_some_and(own))
        };
        let odd = |byte: u8| matches!(byte, b'\t' | b'\r' | b'|' | b'>' | b'&' | b'*' | b'!');
        let clear = !block.bytes().any(odd) && block.lines().all(fits);
        clear.then_some(Self { key, start, line: line + 1, indent, is_list })
    }

    /// Its entries in order.
    pub(super) fn pieces(self, source: &'a str) -> impl Iterator<Item = Piece<'a>> {
        let (mut start, mut line) = (self.start, self.line);
        std::iter::from_fn(move || {
            let rest = source.get(start..).filter(|rest| !rest.is_empty())?;
            let (mut len, mut lines, mut seen) = (0, 0, false);
            for text in rest.split_inclusive('\n') {
                let begins =
                    !is_blank(text.trim_end_matches('\n')) && indent_of(text) == self.indent;
                if begins && seen {
                    break;
                }
                seen |= begins;
                len += text.len();
                lines += 1;
            }
            let piece = Piece { text: rest.get(..len)?, start, line };
            (start, line) = (start + len, line + lines);
            Some(piece)
        })
    }
}

fn indent_of(line: &str) -> usize {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

fn is_blank(line: &str) -> bool {
    matches!(line.trim_start_matches(' ').bytes().next(), None | Some(b'#'))
}

fn is_word(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

impl Piece<'_> {
    /// The entry of a mapping, if it is plain.
    pub(super) fn entry(&self) -> Option<Entry> {
        let mut scan = Scan::new(self);
        let entry = scan.line_entry()?;
        scan.is_over().then_some(entry)
    }

    /// The item of a list, if it is plain.
    pub(super) fn item(&self) -> Option<Node> {
        let mut scan = Scan::new(self);
        scan.spaces();
        scan.eat(b'-')?;
        scan.eat(b' ')?;
        let start = scan.at;
        // `- name: {…}` is a mapping that begins there.
        let node = if scan.peek() == Some(b'{') {
            scan.value(false)?
        } else {
            let entry = scan.inline_entry()?;
            let at = Position { end: entry.at.start, ..entry.at };
            debug_assert_eq!(at.start, self.start + start, "the key is the first thing");
            Node { at, value: Value::Map(vec![entry]) }
        };
        scan.end_of_line()?;
        scan.is_over().then_some(node)
    }
}

/// A place in a piece.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    line_start: usize,
    line: u32,
    /// Where the piece starts in the file.
    base: usize,
    /// Brackets that are open.
    depth: usize,
}

impl<'a> Scan<'a> {
    const fn new(piece: &Piece<'a>) -> Self {
        Self {
            text: piece.text,
            at: 0,
            line_start: 0,
            line: piece.line,
            base: piece.start,
            depth: 0,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn spaces(&mut self) -> usize {
        let start = self.at;
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        self.at - start
    }

    fn end_of_line(&mut self) -> Option<()> {
        match self.peek() {
            None => Some(()),
            Some(b'\n') => {
                self.at += 1;
                self.line += 1;
                self.line_start = self.at;
                Some(())
            }
            Some(_) => None,
        }
    }

    fn is_over(&self) -> bool {
        self.at == self.text.len()
    }

    fn place(&self, start: usize, end: usize) -> Position {
        let column = u32::try_from(start - self.line_start).map_or(u32::MAX, |at| at + 1);
        Position { line: self.line, column, start: self.base + start, end: self.base + end }
    }

    fn word(&mut self) -> Option<(String, Position)> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).filter(|text| is_word(text))?;
        Some((text.to_owned(), self.place(start, self.at)))
    }

    /// `key: value`, on one line.
    fn inline_entry(&mut self) -> Option<Entry> {
        let (key, at) = self.word()?;
        self.eat(b':')?;
        self.eat(b' ')?;
        let node = self.value(false)?;
        Some(Entry { at, key, node })
    }

    /// A key with its value on the same line, or with a mapping in the lines that follow.
    fn line_entry(&mut self) -> Option<Entry> {
        let indent = self.spaces();
        let (key, at) = self.word()?;
        self.eat(b':')?;
        if self.eat(b' ').is_some() {
            let node = self.value(false)?;
            self.end_of_line()?;
            return Some(Entry { at, key, node });
        }
        self.end_of_line()?;
        let mut entries: Vec<Entry> = Vec::with_capacity(4);
        let deeper = indent_of(self.text.get(self.at..)?);
        (deeper > indent).then_some(())?;
        while !self.is_over() {
            (self.spaces() == deeper).then_some(())?;
            let entry = self.inline_entry()?;
            (!entries.iter().any(|its| its.key == entry.key)).then_some(())?;
            self.end_of_line()?;
            entries.push(entry);
        }
        let first = entries.first()?.at;
        let node = Node { at: Position { end: first.start, ..first }, value: Value::Map(entries) };
        Some(Entry { at, key, node })
    }

    fn value(&mut self, in_flow: bool) -> Option<Node> {
        let start = self.at;
        let (at, value) = match self.peek()? {
            b'"' => {
                let text = self.quoted()?;
                (self.place(start, self.at), Value::Scalar(text))
            }
            b'[' => (self.place(start, start + 1), Value::Seq(self.flow(b']', Self::flow_item)?)),
            b'{' => {
                let entries = self.flow(b'}', Self::flow_entry)?;
                // Twice the same key is for the reader that says so.
                let twice = |(at, its): (usize, &Entry)| {
                    entries.iter().take(at).any(|it| it.key == its.key)
                };
                (!entries.iter().enumerate().any(twice)).then_some(())?;
                (self.place(start, start + 1), Value::Map(entries))
            }
            _ => {
                let text = self.plain(in_flow)?;
                (self.place(start, self.at), Value::Scalar(text))
            }
        };
        Some(Node { at, value })
    }

    fn quoted(&mut self) -> Option<String> {
        self.eat(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n'))?;
        let text = self.text.get(self.at..self.at + len)?.to_owned();
        self.at += len;
        self.eat(b'"')?;
        Some(text)
    }

    /// A word that means nothing but itself.
    fn plain(&mut self, in_flow: bool) -> Option<String> {
        let start = self.at;
        let ends = |byte: u8| byte == b'\n' || (in_flow && matches!(byte, b',' | b']' | b'}'));
        while let Some(byte) = self.peek().filter(|byte| !ends(*byte)) {
            let next = self.text.as_bytes().get(self.at + 1).copied();
            let inside = next.is_some_and(|next| next.is_ascii_alphanumeric() || next == b'+');
            let first = self.at == start;
            let fits = match byte {
                b'+' => true,
                b'.' | b'_' | b'@' | b'=' | b';' | b'-' => !first,
                b':' => !first && inside,
                _ => byte.is_ascii_alphanumeric(),
            };
            fits.then(|| self.at += 1)?;
        }
        (self.at > start).then_some(())?;
        self.text.get(start..self.at).map(str::to_owned)
    }

    fn flow_item(&mut self) -> Option<Node> {
        self.value(true)
    }

    fn flow_entry(&mut self) -> Option<Entry> {
        let (key, at) = self.word()?;
        self.eat(b':')?;
        self.eat(b' ')?;
        let node = self.value(true)?;
        Some(Entry { at, key, node })
    }

    /// What stands between brackets, with single commas between.
    fn flow<T>(&mut self, end: u8, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.at += 1;
        self.depth += 1;
        (self.depth <= DEPTH_MAX).then_some(())?;
        let mut list = Vec::new();
        self.spaces();
        while self.eat(end).is_none() {
            if !list.is_empty() {
                self.eat(b',')?;
                self.spaces();
            }
            list.push(one(self)?);
            self.spaces();
        }
        self.depth -= 1;
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pieces::read_block;
    use super::super::tree::{TakePieces, read_tree, read_tree_in_pieces};
    use super::*;

    /// Keeps what is handed out.
    #[derive(Default)]
    struct All(Vec<Entry>, Vec<Node>);

    impl TakePieces for All {
        fn wants(&mut self, key: &str, _: &[Entry]) -> bool {
            key == "many"
        }
        fn entry(&mut self, entry: &Entry) {
            self.0.push(entry.clone());
        }
        fn item(&mut self, item: &Node) {
            self.1.push(item.clone());
        }
    }

    const MAPPINGS: [&str; 13] = [
        "  u1:\n    a: 1\n    b-c: \"x y\"\n",
        "  u1: {a: 1, b: [\"sip:+1@x;user=phone\", tel:+1555], c: {d: x.y}}\n",
        "  u1: word\n",
        "  u1: \"\"\n  u2:\n      deep: [ 1,2 , 3 ]\n",
        // Not plain, one way or another.
        "  u1:\n",
        "  u1: 'x'\n",
        "  u1: \"a\\n\\\"b\"\n",
        "  u1:\n    a: 1\n    b:\n      c: 2\n",
        "  u1:\n    a: 1   # a word\n\n    # lines\n    b: 2\n",
        "  u1: [1,\n    2]\n",
        "  u1: a b\n",
        "  u1: {a: , b: ~}\n  u2: [a, ]\n",
        "  \"u1\": x\n  u2: \"two\n    lines\"\n",
    ];

    const LISTS: [&str; 6] = [
        "  - u1: {a: 1}\n  - u2: {b: [x, y]}\n",
        "  - {a: 1, b: {c: 2}}\n",
        "  - u1: x\n    u2: y\n",
        "  - u1:\n      a: 1\n      b: 2\n",
        "  - x\n  -   y\n",
        "  - [1, 2]\n",
    ];

    /// A document long enough for the short way, with these lines in the middle.
    fn document(lines: &str, filler: impl Fn(usize) -> String) -> String {
        let many = |from: usize| (from..from + 2_000).map(&filler).collect::<String>();
        format!("# head\na: 1\nb: {{c: [2]}}\nmany:\n\n{}{lines}{}", many(0), many(9_000))
    }

    fn both(source: &str) {
        let whole = read_tree(source);
        let mut heard = All::default();
        let pieces = read_tree_in_pieces(source, &mut heard);
        match (whole, pieces) {
            (Ok(whole), Ok(mut tree)) => {
                let Value::Map(entries) = &mut tree.value else { panic!("a mapping") };
                let many = entries.iter_mut().find(|entry| entry.key == "many").expect("many");
                many.node.value = match many.node.value {
                    Value::Map(_) => Value::Map(heard.0),
                    _ => Value::Seq(heard.1),
                };
                let (Value::Map(whole), Value::Map(tree)) = (&whole.value, &tree.value) else {
                    panic!("mappings")
                };
                for (one, other) in whole.iter().zip(tree) {
                    assert_eq!(one.node.at, other.node.at, "{}", one.key);
                    match (&one.node.value, &other.node.value) {
                        (Value::Map(one), Value::Map(other)) => {
                            one.iter().zip(other).for_each(|(one, other)| assert_eq!(one, other));
                        }
                        (Value::Seq(one), Value::Seq(other)) => {
                            one.iter().zip(other).for_each(|(one, other)| assert_eq!(one, other));
                        }
                        (one, other) => assert_eq!(one, other),
                    }
                }
                assert!(whole == tree);
            }
            (Err(whole), Err(pieces)) => assert_eq!(whole.0[0], pieces.0[0]),
            (whole, pieces) => panic!("{:?} but {:?}", whole.err(), pieces.err()),
        }
    }

    #[test]
    fn what_comes_out_is_the_same_to_the_last_column() {
        for lines in MAPPINGS {
            let filler = |n| format!("  k{n}:\n    impi: \"{n}@x\"\n    aka: {{k: \"00\"}}\n");
            let source = document(lines, filler);
            let block = Block::find(&source).expect("a block");
            assert!(read_block(&source, block, &mut All::default()).is_some(), "{lines}");
            both(&source);
        }
        for lines in LISTS {
            let source = document(lines, |n| format!("  - k{n}: {{impi: \"{n}@x\", x: [1]}}\n"));
            let block = Block::find(&source).expect("a block");
            assert!(block.is_list, "{lines}");
            assert!(read_block(&source, block, &mut All::default()).is_some(), "{lines}");
            both(&source);
        }
    }

    #[test]
    fn most_pieces_are_plain() {
        let entry = |text: &str| Piece { text, start: 0, line: 1 }.entry().is_some();
        let item = |text: &str| Piece { text, start: 0, line: 1 }.item().is_some();
        assert!(MAPPINGS[..3].iter().all(|text| entry(text)));
        assert!(MAPPINGS[4..].iter().all(|text| !entry(text)));
        assert!(item("  - u1: {a: 1}\n") && item(LISTS[1]));
        assert!(!entry("  u1: {a: 1, a: 2}\n"), "twice");
        assert!(!entry(&format!("  u1: {}{}\n", "[".repeat(9), "]".repeat(9))), "too deep");
        assert!(!entry("  u1: x: y\n") && !entry("  u1: -\n") && !entry("  u1: x \n"));
    }

    #[test]
    fn mistakes_are_told_as_the_reader_tells_them() {
        let filler = |n| format!("  k{n}: {{a: 1}}\n");
        for lines in ["  k7: {a: 1}\n", "  u: [1\n", "  u: {a: 1, a: 2}\n", "  u: *x\n", " u: 1\n"]
        {
            both(&document(lines, filler));
        }
        // Without a block that is clearly one.
        both(&format!("{}z: 1\n", document("", filler)));
        both(&document("  u: |\n    text\n", filler));
        both(&document("  ? u1\n  : x\n", filler));
        both(&document("", filler).replace("many:", "many: # x"));
        both(&document("", filler).replace("a: 1\nb", "a: [\nb"));
    }
}
