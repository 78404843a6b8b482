//! Reads protocol buffers without their definition: numbered fields
//! (<https://protobuf.dev/programming-guides/encoding/>).

use anyhow::{Context, Result, bail};

/// A message's fields, in order.
#[derive(Debug, Clone)]
pub struct Message<'a>(Vec<(u64, Field<'a>)>);

#[derive(Debug, Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Parses the fields of these bytes.
    pub fn read(mut bytes: &'a [u8]) -> Result<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes)?;
            let field = match tag & 7 {
                0 => Field::Number(varint(&mut bytes)?),
                1 => Field::Bytes(take(&mut bytes, 8)?),
                2 => {
                    let length = varint(&mut bytes)?;
                    Field::Bytes(take(&mut bytes, length)?)
                }
                5 => Field::Bytes(take(&mut bytes, 4)?),
                kind => bail!("there is no wire type {kind}"),
            };
            fields.push((tag >> 3, field));
        }
        Ok(Self(fields))
    }

    fn of(&self, number: u64) -> impl Iterator<Item = Field<'a>> + '_ {
        self.0.iter().filter(move |(other, _)| *other == number).map(|(_, field)| *field)
    }

    /// All messages in the fields with this number.
    pub fn messages(&self, number: u64) -> Result<Vec<Self>> {
        let bytes = self.of(number).filter_map(|field| match field {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number(_) => None,
        });
        bytes.map(Self::read).collect()
    }

    /// The bytes of the field with this number.
    pub fn bytes(&self, number: u64) -> Option<&'a [u8]> {
        self.of(number).find_map(|field| match field {
            Field::Bytes(bytes) => Some(bytes),
            Field::Number(_) => None,
        })
    }

    /// The number in the field with this number.
    pub fn number(&self, number: u64) -> Option<u64> {
        self.of(number).find_map(|field| match field {
            Field::Number(value) => Some(value),
            Field::Bytes(_) => None,
        })
    }

    /// The text of the field with this number.
    pub fn text(&self, number: u64) -> Result<String> {
        let bytes = self.bytes(number).with_context(|| format!("no field {number}"))?;
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number has no end")
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    let length = usize::try_from(length)?;
    let (taken, rest) = bytes.split_at_checked(length).context("a message ends too early")?;
    *bytes = rest;
    Ok(taken)
}
