//! The machine that a pickle is a program for, without what would run code.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::arrays::{self, ElementType};
use super::{Id, Known, Value, kind};
use crate::error::DataError;

/// Arguments of a call; numpy's have five at most.
const MAX_ARGUMENTS: usize = 8;
/// Longest number in letters.
const MAX_LINE: usize = 1 << 16;

pub(super) struct Machine<'a> {
    name: &'a str,
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
    /// Bytes made of texts, which a file could ask for again and again.
    made: usize,
}

type Step<T = ()> = Result<T, DataError>;

impl<'a> Machine<'a> {
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        let (values, stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        Self { name, bytes, at: 0, values, stack, marks, memo, made: 0 }
    }

    /// Runs to the end; the values, and which is the whole.
    pub fn run(mut self) -> Step<(Vec<Value<'a>>, Id)> {
        loop {
            let [code] = self.array()?;
            if code == b'.' {
                let root = self.pop()?;
                return Ok((self.values, root));
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step {
        match code {
            0x80 => match self.array()? {
                [0..=5] => Ok(()),
                [version] => Err(self.bad(format!("protocol {version}"), "protocols up to 5")),
            },
            // Frames are for who reads a stream.
            0x95 => self.array::<8>().map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => self.marks.pop().map_or(Ok(()), |_| Ok(())),
            b'0' => self.pop().map(drop),
            b'1' => self.marked().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            b'q' | b'r' | b'p' | 0x94 => self.memorise(code),
            b'h' | b'j' | b'g' => self.recall(code),
            b'N' | 0x88 | 0x89 | b'I' | b'J' | b'K' | b'M' | b'L' | 0x8a | 0x8b | b'F' | b'G' => self.number(code),
            b'S' | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 | b'V' | b'X' | 0x8c | 0x8d => self.text(code),
            b']' | b')' | b'}' | b'l' | b't' | b'd' | 0x85..=0x87 | b'a' | b'e' | b's' | b'u' => self.container(code),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.named(&module, &name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module], &self.values[name]) {
                    (Value::Text(module), Value::Text(name)) => {
                        let (module, name) = (module.to_string(), name.to_string());
                        self.named(&module, &name)
                    }
                    _ => Err(self.bad("a name that is no text", "a whole pickle")),
                }
            }
            b'R' => self.reduce(),
            b'b' => self.build(),
            b'i' | b'o' | 0x81 | 0x92 => Err(self.refused("an object of a class")),
            b'P' | b'Q' => Err(self.refused("a reference to something outside the file")),
            0x82..=0x84 => Err(self.refused("an object of a registered class")),
            0x8f..=0x91 => Err(self.refused("a set")),
            0x97 | 0x98 => Err(self.refused("a buffer outside the file")),
            _ => Err(self.bad(format!("code {code:#04x}, which no pickle has"), "a whole pickle")),
        }
    }

    /// A name: known, or refused by it.
    fn named(&mut self, module: &str, name: &str) -> Step {
        match Known::of(module, name) {
            Some(known) => self.push(Value::Name(known)),
            None => Err(self.refused(&format!("`{module}.{name}`"))),
        }
    }

    fn memorise(&mut self, code: u8) -> Step {
        let key = match code {
            0x94 => self.memo.len() as u64,
            b'q' => u64::from(self.array::<1>()?[0]),
            b'r' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => self.parsed()?,
        };
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Step {
        let key = match code {
            b'h' => u64::from(self.array::<1>()?[0]),
            b'j' => u64::from(u32::from_le_bytes(self.array()?)),
            _ => self.parsed()?,
        };
        let Some(&id) = self.memo.get(&key) else {
            return Err(self.bad(format!("value {key}, which was not kept"), "a whole pickle"));
        };
        self.stack.push(id);
        Ok(())
    }

    fn number(&mut self, code: u8) -> Step {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.array::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'G' => self.array::<8>().map(|_| Value::Float)?,
            b'F' => self.parsed::<f64>().map(|_| Value::Float)?,
            b'I' => match self.line()?.as_str() {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => Value::Int(self.integer(digits)?),
            },
            b'L' => {
                let line = self.line()?;
                Value::Int(self.integer(line.trim_end_matches('L'))?)
            }
            _ => {
                let length = match code {
                    0x8a => u64::from(self.array::<1>()?[0]),
                    _ => u64::from(u32::from_le_bytes(self.array()?)),
                };
                let bytes = self.take(length)?;
                let element = ElementType { letter: b'i', size: 8, is_big_endian: false };
                let number = if bytes.is_empty() { Some(0) } else { element.integer(bytes) };
                Value::Int(number.ok_or_else(|| self.bad("a number of more than 64 bits", "smaller ones"))?)
            }
        };
        self.push(value)
    }

    fn text(&mut self, code: u8) -> Step {
        let length = match code {
            b'U' | b'C' | 0x8c => u64::from(self.array::<1>()?[0]),
            b'T' | b'B' | b'X' => u64::from(u32::from_le_bytes(self.array()?)),
            0x8e | 0x96 | 0x8d => u64::from_le_bytes(self.array()?),
            // Escapes are Python's; texts of protocol 0 are names of numbers and types, which have none.
            b'S' => {
                let line = self.line()?;
                let inner = line.strip_prefix(['\'', '"']).and_then(|line| line.strip_suffix(['\'', '"']));
                let plain = inner.filter(|text| !text.contains('\\')).map(|text| text.as_bytes().to_vec());
                let bytes = plain.ok_or_else(|| self.bad("a text with escapes", "protocol 1 or later"))?;
                return self.push(Value::Bytes(Cow::Owned(bytes)));
            }
            _ => {
                let line = self.line()?;
                if line.contains('\\') {
                    return Err(self.bad("a text with escapes", "protocol 1 or later"));
                }
                return self.push(Value::Text(Cow::Owned(line)));
            }
        };
        let bytes = self.take(length)?;
        if !matches!(code, b'X' | 0x8c | 0x8d) {
            return self.push(Value::Bytes(Cow::Borrowed(bytes)));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Text(Cow::Borrowed(text))),
            Err(_) => Err(self.bad("a text that is no UTF-8", "a whole pickle")),
        }
    }

    fn container(&mut self, code: u8) -> Step {
        match code {
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'l' => {
                let items = self.marked()?;
                self.push(Value::List(items))
            }
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items))
            }
            b'd' => {
                let items = self.marked()?;
                let entries = self.pairs(&items)?;
                self.push(Value::Dict(entries))
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let mut items = (0..count).map(|_| self.pop()).collect::<Step<Vec<Id>>>()?;
                items.reverse();
                self.push(Value::Tuple(items))
            }
            b'a' | b'e' => {
                let items = if code == b'a' { vec![self.pop()?] } else { self.marked()? };
                let list = self.top()?;
                if let Value::List(into) = &mut self.values[list] {
                    into.extend(items);
                    return Ok(());
                }
                Err(self.bad_at(format!("items for {}", kind(&self.values[list]))))
            }
            _ => {
                let items = match code {
                    b's' => {
                        let value = self.pop()?;
                        vec![self.pop()?, value]
                    }
                    _ => self.marked()?,
                };
                let entries = self.pairs(&items)?;
                let dict = self.top()?;
                if let Value::Dict(into) = &mut self.values[dict] {
                    into.extend(entries);
                    return Ok(());
                }
                Err(self.bad_at(format!("entries for {}", kind(&self.values[dict]))))
            }
        }
    }

    fn pairs(&self, items: &[Id]) -> Step<Vec<(Id, Id)>> {
        match items.as_chunks() {
            (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
            _ => Err(self.bad("a key without a value", "a whole pickle")),
        }
    }

    /// What a call would make, of the few calls that are known.
    fn reduce(&mut self) -> Step {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let (Value::Name(known), Value::Tuple(arguments)) = (&self.values[called], &self.values[arguments]) else {
            return Err(self.refused("a call of something that is no name"));
        };
        if arguments.len() > MAX_ARGUMENTS {
            return Err(self.refused("a call with many arguments"));
        }
        let (known, arguments) = (*known, arguments.clone());
        let value = match (known, arguments.as_slice()) {
            (Known::Reconstruct, [class, ..]) if matches!(self.values[*class], Value::Name(Known::NdArray)) => {
                Value::Array(None)
            }
            (Known::FromBuffer, &[data, element, shape, order]) => {
                let is_column_major = matches!(&self.values[order], Value::Text(order) if order == "F");
                let array = arrays::from_parts(&self.values, (shape, element, is_column_major, data));
                Value::Array(Some(array.map_err(|found| self.refused(found))?))
            }
            (Known::DType, [name, ..]) => {
                let name = match &self.values[*name] {
                    Value::Text(name) => name.to_string(),
                    Value::Bytes(name) => String::from_utf8_lossy(name).into_owned(),
                    _ => String::new(),
                };
                let element = ElementType::named(&name);
                Value::ElementType(element.ok_or_else(|| self.refused(&format!("an array of `{name}`")))?)
            }
            (Known::Scalar, &[element, data]) => match (&self.values[element], &self.values[data]) {
                (Value::ElementType(element), Value::Bytes(bytes))
                    if bytes.len() == usize::from(element.size) && matches!(element.letter, b'i' | b'u') =>
                {
                    let number = element.integer(bytes);
                    Value::Int(number.ok_or_else(|| self.bad("a number of more than 63 bits", "smaller ones"))?)
                }
                _ => return Err(self.refused("a number of another type than integers")),
            },
            (Known::Encode, &[text, ref rest @ ..]) => self.encoded(text, rest)?,
            (Known::OrderedDict, []) => Value::Dict(Vec::new()),
            (Known::Bytes | Known::ByteArray, []) => Value::Bytes(Cow::Borrowed(&[])),
            (Known::ByteArray, &[bytes]) => match &self.values[bytes] {
                Value::Bytes(Cow::Borrowed(bytes)) => Value::Bytes(Cow::Borrowed(bytes)),
                _ => return Err(self.refused("bytes made of something else")),
            },
            _ => return Err(self.refused(&format!("a call of {known:?} with other arguments than numpy's"))),
        };
        self.push(value)
    }

    /// Bytes that Python 3 wrote as a text for Python 2.
    fn encoded(&mut self, text: Id, rest: &[Id]) -> Step<Value<'a>> {
        let is_latin = match rest {
            [code] => matches!(&self.values[*code], Value::Text(code) if code == "latin1" || code == "latin-1"),
            _ => false,
        };
        let Value::Text(text) = &self.values[text] else { return Err(self.refused("an encoding of no text")) };
        self.made = self.made.saturating_add(text.len());
        if !is_latin || self.made > self.bytes.len() {
            return Err(self.refused("an encoding that is not numpy's"));
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        bytes.map(|bytes| Value::Bytes(Cow::Owned(bytes))).ok_or_else(|| self.refused("a text that is no bytes"))
    }

    /// The state of what was made before it.
    fn build(&mut self) -> Step {
        let (state, of) = (self.pop()?, self.top()?);
        let Value::Tuple(parts) = &self.values[state] else {
            return Err(self.refused("an object with a state"));
        };
        match &self.values[of] {
            Value::Array(None) => {
                let array = arrays::from_state(&self.values, parts).map_err(|found| self.refused(found))?;
                self.values[of] = Value::Array(Some(array));
                Ok(())
            }
            &Value::ElementType(element) => {
                let order = parts.get(1).map(|&order| &self.values[order]);
                let is_big_endian = match order {
                    Some(Value::Text(order)) => order == ">",
                    Some(Value::Bytes(order)) => order[..] == *b">",
                    _ => return Err(self.refused("a type with an unknown state")),
                };
                self.values[of] = Value::ElementType(ElementType { is_big_endian, ..element });
                Ok(())
            }
            other => {
                let found = format!("{} with a state", kind(other));
                Err(self.refused(&found))
            }
        }
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The uppermost value above the last mark.
    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(|| self.bad_at("too few values".to_owned()))
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The values above the last mark, which goes with them.
    fn marked(&mut self) -> Step<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => Err(self.bad_at("an end without a beginning".to_owned())),
        }
    }

    fn take(&mut self, count: u64) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = usize::try_from(count).ok().and_then(|count| rest.get(..count)) else {
            return Err(self.bad(format!("the file ends after {} of {count} bytes", rest.len()), "a whole pickle"));
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.take(N as u64)?;
        Ok(std::array::from_fn(|at| bytes[at]))
    }

    fn line(&mut self) -> Step<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(MAX_LINE).position(|&byte| byte == b'\n');
        let text = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let text = text.ok_or_else(|| self.bad("a line without an end, or no UTF-8", "a whole pickle"))?;
        self.at += text.len() + 1;
        Ok(text.trim_end_matches('\r').to_owned())
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Step<T> {
        let line = self.line()?;
        line.trim().parse().map_err(|_| self.bad("a number that is none", "a whole pickle"))
    }

    fn integer(&self, digits: &str) -> Step<i64> {
        digits.parse().map_err(|_| self.bad("a number that is none, or of more than 64 bits", "smaller ones"))
    }

    fn bad(&self, found: impl Into<String>, expected: &str) -> DataError {
        DataError::malformed(self.name, format_args!(", byte {}", self.at), found, expected)
    }

    fn bad_at(&self, found: String) -> DataError {
        self.bad(found, "a whole pickle")
    }

    fn refused(&self, what: &str) -> DataError {
        let expected = "arrays of numbers, numbers, texts, lists, tuples and dicts; nothing in a pickle is run";
        self.bad(format!("{what}, which is not read"), expected)
    }
}
