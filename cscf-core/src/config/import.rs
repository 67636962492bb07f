//! Subscribers from the table that a SIM vendor or another core writes: comma, semicolon or tab
//! between the columns, with a head that names them, or without one in the order of their kinds.

use super::problem::{Problems, nearest};
use super::range::{imsi_of, msisdn_of, usim};
use super::subscriber::{Auth, SubscriberConfig, hex};
use super::tree::Position;
use crate::auth::derive_opc;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Amf,
    Imsi,
    K,
    Msisdn,
    /// OP or OPc, as the column with this name says.
    Operator,
    Op,
    Opc,
    /// `OP` or `OPC`: what [`Column::Operator`] holds.
    OpType,
    Sqn,
    /// Nothing that an HSS needs.
    Other,
}

/// The heads that vendors and other cores write, in lower case and without punctuation.
const HEADS: [(&str, Column); 24] = [
    ("imsi", Column::Imsi),
    ("k", Column::K),
    ("ki", Column::K),
    ("key", Column::K),
    ("op", Column::Op),
    ("opc", Column::Opc),
    ("opopc", Column::Operator),
    ("optype", Column::OpType),
    ("amf", Column::Amf),
    ("sqn", Column::Sqn),
    ("msisdn", Column::Msisdn),
    ("phone", Column::Msisdn),
    ("number", Column::Msisdn),
    ("name", Column::Other),
    ("auth", Column::Other),
    ("iccid", Column::Other),
    ("acc", Column::Other),
    ("pin1", Column::Other),
    ("puk1", Column::Other),
    ("pin2", Column::Other),
    ("puk2", Column::Other),
    ("adm1", Column::Other),
    ("qci", Column::Other),
    ("ipalloc", Column::Other),
];

/// Reads a table of subscribers.
///
/// # Errors
///
/// Everything that is wrong in it, with line and column.
pub fn import_subscribers(source: &str, domain: &str) -> Result<Vec<SubscriberConfig>, Problems> {
    let mut problems = Problems::default();
    let mut rows = Rows { source, offset: 0, line: 0 };
    let mut columns: Option<Vec<Column>> = None;
    let mut out: Vec<SubscriberConfig> = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    while let Some(cells) = rows.next_row() {
        let columns = match &columns {
            Some(columns) => columns,
            None => match head(&cells, &mut problems) {
                Some(named) => {
                    columns = Some(named);
                    continue;
                }
                None => columns.insert(by_kind(&cells)),
            },
        };
        let row = Row { cells: &cells, columns };
        let Some(subscriber) = row.subscriber(domain, &mut problems) else { continue };
        let line = row.at().line;
        if let Some(first) = seen.insert(subscriber.impi.clone(), line) {
            let text = format!("{} stands twice, first in line {first}", subscriber.name);
            problems.push(row.at(), text, None);
        }
        out.push(subscriber);
    }
    if problems.is_empty() && out.is_empty() {
        problems.push(Position::default(), "there is no subscriber in it", None);
    }
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

/// A cell with its place.
type Cell<'a> = (Position, &'a str);

/// The rows of a table; empty ones and comments are left out, but not a commented head.
struct Rows<'a> {
    source: &'a str,
    offset: usize,
    line: u32,
}

impl<'a> Rows<'a> {
    fn next_row(&mut self) -> Option<Vec<Cell<'a>>> {
        loop {
            let rest = self.source.get(self.offset..).filter(|rest| !rest.is_empty())?;
            let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
            let text = rest.get(..length).unwrap_or_default().trim_end();
            let start = self.offset;
            self.offset += length;
            self.line += 1;
            let is_head = |text: &str| text.to_ascii_lowercase().contains("imsi");
            let comment = text.trim_start().starts_with('#') && !is_head(text);
            if !text.trim().is_empty() && !comment {
                return Some(self.cells(text, start));
            }
        }
    }

    fn cells(&self, text: &'a str, start: usize) -> Vec<Cell<'a>> {
        let separator = [';', '\t'].into_iter().find(|it| text.contains(*it)).unwrap_or(',');
        let mut column = 1;
        let mut offset = start;
        let mut out = Vec::new();
        for cell in text.split(separator) {
            let end = offset + cell.len();
            let at = Position { line: self.line, column, start: offset, end };
            out.push((at, cell.trim().trim_matches('"').trim()));
            column += u32::try_from(cell.chars().count()).unwrap_or(0) + 1;
            offset = end + separator.len_utf8();
        }
        out
    }
}

/// The columns by their names; `None` when the first row is no head. A name that means nothing to
/// an HSS is passed over, unless it looks like a misspelt one that does.
fn head(cells: &[Cell<'_>], problems: &mut Problems) -> Option<Vec<Column>> {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let known = |name: &str| HEADS.iter().find(|(head, _)| *head == name).map(|(_, it)| *it);
    if cells.iter().any(|(_, text)| imsi_of(text).is_ok()) {
        return None;
    }
    let columns: Vec<Column> = cells
        .iter()
        .map(|(at, text)| {
            let name = plain(text);
            known(&name).unwrap_or_else(|| {
                let heads = HEADS.iter().filter(|(_, it)| *it != Column::Other);
                let near = nearest(&name, heads.map(|(head, _)| *head).filter(|it| it.len() > 3));
                if let Some(near) = near {
                    let help = format!("did you mean `{near}`?");
                    problems.push(*at, format!("`{text}` is no column we know"), Some(help));
                }
                Column::Other
            })
        })
        .collect();
    let first = cells.first().map(|(at, _)| *at).unwrap_or_default();
    for (needed, name) in [(Column::Imsi, "IMSI"), (Column::K, "K")] {
        if !columns.contains(&needed) {
            problems.push(first, format!("there is no column `{name}`"), None);
        }
    }
    Some(columns)
}

/// The columns of a table without head, by what stands in its first row: the IMSI is the first of
/// 14 or 15 digits, of 32 hexadecimal digits K comes first and then OPc (or OP, if a cell says
/// `op`), a number with `+` or of other length is the MSISDN, AMF has 4 and SQN 12 digits.
fn by_kind(cells: &[Cell<'_>]) -> Vec<Column> {
    let mut found: Vec<Column> = Vec::new();
    for (_, text) in cells {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let new = |column: Column| !found.contains(&column);
        let lower = text.to_ascii_lowercase();
        let column = if matches!(lower.as_str(), "op" | "opc") {
            Column::OpType
        } else if is_hex && text.len() == 32 {
            if new(Column::K) { Column::K } else { Column::Operator }
        } else if digits && matches!(text.len(), 14 | 15) && new(Column::Imsi) {
            Column::Imsi
        } else if is_hex && text.len() == 4 && new(Column::Amf) {
            Column::Amf
        } else if is_hex && text.len() == 12 && new(Column::Sqn) && !new(Column::K) {
            Column::Sqn
        } else if msisdn_of(text).is_ok() && new(Column::Msisdn) && new(Column::K) {
            Column::Msisdn
        } else {
            Column::Other
        };
        found.push(column);
    }
    found
}

/// One row with what its cells mean.
struct Row<'a> {
    cells: &'a [Cell<'a>],
    columns: &'a [Column],
}

impl<'a> Row<'a> {
    fn at(&self) -> Position {
        self.cells.first().map(|(at, _)| *at).unwrap_or_default()
    }

    /// The cell of a column, if there is something in it.
    fn cell(&self, column: Column) -> Option<Cell<'a>> {
        let mut both = self.columns.iter().zip(self.cells);
        let (_, cell) = both.find(|(it, (_, text))| **it == column && !text.is_empty())?;
        Some(*cell)
    }

    /// What stands in a column, read; what is wrong in it is told.
    fn read<T>(
        &self,
        column: Column,
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (at, text) = self.cell(column)?;
        read(text).map_err(|fault| problems.push(at, fault, None)).ok()
    }

    fn subscriber(&self, domain: &str, problems: &mut Problems) -> Option<SubscriberConfig> {
        let before = problems.0.len();
        let imsi = self.read(Column::Imsi, problems, imsi_of);
        let k = self.read(Column::K, problems, hex::<16>);
        let msisdn = self.read(Column::Msisdn, problems, msisdn_of);
        let amf = self.read(Column::Amf, problems, hex::<2>).unwrap_or([0x80, 0]);
        let sqn = self.read(Column::Sqn, problems, sqn_of).unwrap_or(0);
        let opc = self.opc(k, problems);
        if problems.0.len() == before {
            for (is_there, name) in
                [(imsi.is_some(), "IMSI"), (k.is_some(), "K"), (opc.is_some(), "OP or OPc")]
            {
                if !is_there {
                    problems.push(self.at(), format!("there is no {name} in this line"), None);
                }
            }
        }
        let imsi = imsi?;
        let auth = Auth::Aka { k: k?, opc: opc?, amf, sqn };
        let msisdn = msisdn.map(|number| format!("+{number}"));
        Some(usim(&imsi, &imsi, msisdn.as_deref(), auth, domain))
    }

    fn opc(&self, k: Option<[u8; 16]>, problems: &mut Problems) -> Option<[u8; 16]> {
        if let Some(opc) = self.read(Column::Opc, problems, hex::<16>) {
            return Some(opc);
        }
        if let Some(op) = self.read(Column::Op, problems, hex::<16>) {
            return k.map(|k| derive_opc(k, op));
        }
        let value = self.read(Column::Operator, problems, hex::<16>)?;
        let kind = self.cell(Column::OpType).map_or("opc", |(_, text)| text);
        if kind.eq_ignore_ascii_case("op") { k.map(|k| derive_opc(k, value)) } else { Some(value) }
    }
}

/// Twelve hexadecimal digits, or fewer as some cores leave the zeros out.
fn sqn_of(text: &str) -> Result<u64, String> {
    let fault = || format!("`{text}` is no SQN of at most 12 hexadecimal digits");
    if text.len() > 12 {
        return Err(fault());
    }
    u64::from_str_radix(text, 16).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: &str = "30313233343536373839616263646566";
    const OP: &str = "CDC202D5123E20F62B6D676AC72CB318";

    fn import(text: &str) -> Vec<SubscriberConfig> {
        import_subscribers(text, "ims.example").unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn tables_of_vendors_and_of_other_cores_are_read() {
        let opc = crate::auth::to_hex(&derive_opc(
            crate::auth::from_hex(K).unwrap(),
            crate::auth::from_hex(OP).unwrap(),
        ));
        for table in [
            format!(
                "IMSI,ICCID,ACC,PIN1,PUK1,Ki,OPC,ADM1\n001010000000001,8988,1,1,1,{K},{opc},9\n"
            ),
            format!("imsi;msisdn;k;op;amf;sqn\n\n001010000000001;15550100;{K};{OP};8000;20\n"),
            format!(
                "#Name,Auth,IMSI,Key,OP_Type,OP/OPc,AMF,SQN,QCI,IP_alloc\n# a phone\n\
                 ue1,mil,001010000000001,{K},op,{OP},8000,000000000020,9,dynamic\n"
            ),
            format!("001010000000001,{K},{opc}\n"),
            format!("001010000000001,15550100,{K},op,{OP},8000,000000000020\r\n"),
        ] {
            let found = import(&table);
            let [one] = found.as_slice() else { panic!("{table}") };
            assert_eq!(one.impi, "001010000000001@ims.example", "{table}");
            let Auth::Aka { opc: read, amf, sqn, .. } = &one.auth else { panic!("AKA") };
            assert_eq!(crate::auth::to_hex(read), opc, "{table}");
            assert_eq!(*amf, [0x80, 0]);
            assert_eq!(*sqn, if table.contains("8000") { 0x20 } else { 0 }, "{table}");
            let number = table.contains("15550100").then_some("tel:+15550100");
            assert_eq!(number.is_some(), one.impus.iter().any(|it| Some(&*it.uri) == number));
        }
    }

    #[test]
    fn every_mistake_has_its_line_and_column() {
        let table = format!(
            "IMSI,MSISDM,K,OPC\n001010000000001,1,{K},{OP}\n00101000000000x,,{K},{OP}\n\
             001010000000002,,{K}0,{OP}\n001010000000001,,{K},{OP}\n001010000000003,,{K},\n"
        );
        let faults = import_subscribers(&table, "ims.example").expect_err("wrong");
        let said: Vec<(u32, u32, &str)> =
            faults.0.iter().map(|it| (it.at.line, it.at.column, it.text.as_str())).collect();
        assert_eq!(
            said,
            [
                (1, 6, "`MSISDM` is no column we know"),
                (3, 1, "`00101000000000x` is no IMSI of 6 to 15 digits, e.g. 001010000000001"),
                (4, 18, "`303132333435363738396162636465660` is not 32 hexadecimal digits"),
                (5, 1, "001010000000001 stands twice, first in line 2"),
                (6, 1, "there is no OP or OPc in this line"),
            ]
        );
        assert_eq!(faults.0[0].help.as_deref(), Some("did you mean `msisdn`?"));
        assert!(import_subscribers("", "ims.example").is_err());
        assert!(import_subscribers("name,k\nx,y\n", "ims.example").is_err());
    }
}
