//! Hands the entries of a long block out one by one: plain ones are read by [`super::plain`], each
//! other one by the YAML reader.

use super::plain::{Block, Piece};
use super::problem::Problems;
use super::tree::{Entry, Keys, Node, Position, TakePieces, Value, read_part, read_tree};

/// As [`read_tree_in_pieces`], for a document that ends with a block of entries; nothing if that is
/// not what the block is.
pub(super) fn read_block(
    source: &str,
    block: Block<'_>,
    pieces: &mut dyn TakePieces,
) -> Option<Result<Node, Problems>> {
    let mut tree = match read_tree(source.get(..block.start)?) {
        Ok(tree) => tree,
        Err(problems) => return Some(Err(problems)),
    };
    let Value::Map(entries) = &tree.value else { return None };
    let (last, before) = entries.split_last()?;
    // The reader says `~` where nothing is written.
    let is_empty = last.node.text().is_some_and(|text| text.is_empty() || text == "~");
    if last.key != block.key || !is_empty || !pieces.wants(block.key, before) {
        return None;
    }
    let done = hand_out(source, block, pieces);
    Some(done.map(|node| {
        if let Value::Map(entries) = &mut tree.value
            && let Some(last) = entries.last_mut()
        {
            last.node = node;
        }
        tree
    }))
}

/// Hands the entries of a block out; what stays is an empty list or mapping.
fn hand_out(source: &str, block: Block<'_>, pieces: &mut dyn TakePieces) -> Result<Node, Problems> {
    let mut keys = Keys::of_many();
    let mut problems = Problems::default();
    let mut first = None;
    for piece in block.pieces(source) {
        if block.is_list {
            let item = piece.item().map_or_else(|| read_item(&piece), Ok)?;
            first.get_or_insert(item.at);
            pieces.item(&item);
        } else {
            let entry = piece.entry().map_or_else(|| read_entry(&piece), Ok)?;
            first.get_or_insert(entry.at);
            keys.check(&entry.key, entry.at, &[], &mut problems);
            pieces.entry(&entry);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // It begins where its first entry does, the dash before it included.
    let Position { line, column, start, .. } = first.unwrap_or_default();
    let indent = u32::try_from(block.indent).map_or(u32::MAX, |indent| indent + 1);
    let back = usize::try_from(column.saturating_sub(indent)).unwrap_or_default();
    let start = start.saturating_sub(back);
    let value = if block.is_list { Value::Seq(Vec::new()) } else { Value::Map(Vec::new()) };
    Ok(Node { at: Position { line, column: column.min(indent), start, end: start }, value })
}

/// An entry that is not plain.
fn read_entry(piece: &Piece<'_>) -> Result<Entry, Problems> {
    let node = read_part(piece.text, (piece.line - 1, piece.start))?;
    let at = node.at;
    match node.value {
        Value::Map(mut entries) if entries.len() == 1 => entries.pop().ok_or(at),
        Value::Map(_) | Value::Scalar(_) | Value::Seq(_) => Err(at),
    }
    .map_err(|at| not_one(at, "here must be one key"))
}

/// An item that is not plain.
fn read_item(piece: &Piece<'_>) -> Result<Node, Problems> {
    let node = read_part(piece.text, (piece.line - 1, piece.start))?;
    let at = node.at;
    match node.value {
        Value::Seq(mut items) if items.len() == 1 => items.pop().ok_or(at),
        Value::Map(_) | Value::Scalar(_) | Value::Seq(_) => Err(at),
    }
    .map_err(|at| not_one(at, "here must be one item"))
}

fn not_one(at: Position, text: &str) -> Problems {
    let mut problems = Problems::default();
    problems.push(at, text, None);
    problems
}
