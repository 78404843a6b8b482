//! Reads settings out of the inputs and notes every mistake on the way, so that all of them are named at once.

use std::path::PathBuf;

use crate::error::{ConfigError, Mistake};
use crate::inputs::Inputs;
use crate::key::Key;
use crate::layer::Layers;

/// What a section of the configuration is read as; `None` after a mistake that nothing could stand in for.
pub(crate) trait Section: Sized {
    /// Its keys, in the order of the documentation.
    const KEYS: &'static [Key];
    fn read(validation: &mut Validation) -> Option<Self>;
}

/// The inputs, and what is wrong with them.
pub(crate) struct Validation {
    pub(crate) inputs: Inputs,
    /// As if no layer had set anything but what must be set.
    stand_ins: Inputs,
    mistakes: Vec<Mistake>,
}

impl Validation {
    pub(crate) fn new(mut layers: Layers, mut stand_ins: Layers, home: Option<PathBuf>) -> Self {
        let inputs = Inputs::new(&mut layers, home.clone());
        Self { inputs, stand_ins: Inputs::new(&mut stand_ins, home), mistakes: layers.mistakes }
    }

    /// What `read` makes of the inputs. After a mistake it is what it makes of the defaults, so that the rest is
    /// validated as well.
    pub(crate) fn read<T>(&mut self, read: impl Fn(&Inputs) -> Result<T, Mistake>) -> Option<T> {
        match read(&self.inputs) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.note(mistake);
                read(&self.stand_ins).ok()
            }
        }
    }

    /// Two settings that are made of one key fail for one reason.
    fn note(&mut self, mistake: Mistake) {
        let text = mistake.to_string();
        if self.mistakes.iter().all(|known| known.to_string() != text) {
            self.mistakes.push(mistake);
        }
    }

    /// Notes what is wrong with several values together.
    pub(crate) fn check<const N: usize>(&mut self, check: impl FnOnce(&Inputs) -> [Result<(), Mistake>; N]) {
        for mistake in check(&self.inputs).into_iter().filter_map(Result::err) {
            self.note(mistake);
        }
    }

    /// What `read` makes of the inputs, or everything that is wrong with them.
    pub(crate) fn result<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, ConfigError> {
        // What an unreadable file sets would be missing only for that reason.
        let is_complete = !self.mistakes.iter().any(Mistake::hides_keys);
        let read = if is_complete { read(self) } else { None };
        let mistakes = std::mem::take(&mut self.mistakes);
        read.filter(|_| mistakes.is_empty()).ok_or_else(|| mistakes.into())
    }
}
