//! The modules that users of Trove have applied to this instance.
//!
//! A module is a file with a type that says what a guest does with it. Of Trove's types the agent has `ping`,
//! which does nothing but answer with the message in the file. A module of another type gets the status `ERROR`
//! with the reason, as one does that Trove's guests fail to apply (`trove/guestagent/module/module_manager.py`):
//! Trove records it for the instance in any case, and the user can remove it.

mod error;
mod module;
mod ping;
mod store;

use std::{path::Path, sync::Arc};

use serde_json::Value;
use tokio::sync::Mutex;
use tracing::warn;

use crate::system;
pub use error::ModuleError;
pub use module::{Module, ModuleId, NewModule};
use store::Store;

/// The modules of this guest. Clones share the same files.
#[derive(Debug, Clone)]
pub struct Modules {
    store: Arc<Store>,
    /// Two commands may name the same module.
    changing: Arc<Mutex<()>>,
}

impl Modules {
    /// Reads nothing yet.
    pub fn new(state_dir: &Path, guest_id: &str) -> Self {
        Self { store: Arc::new(Store::new(state_dir, guest_id)), changing: Arc::default() }
    }

    /// Applies modules in this order, and returns their results in the form of Trove.
    pub async fn apply(&self, modules: &[NewModule]) -> Result<Value, ModuleError> {
        let _turn = self.changing.lock().await;
        let mut results = Vec::new();
        for new in modules {
            let new = new.clone();
            let applied = self.on_disk(move |store| {
                let known = store.read(&new.id)?;
                let module = new.applied(known);
                store.write(&module)?;
                Ok(module)
            });
            let module = applied.await?;
            if let Some(message) = module.failure() {
                warn!(reason = message, "A module is not applied.");
            }
            results.push(module.result(None));
        }
        Ok(Value::Array(results))
    }

    /// The applied modules that the user may see, the newest first.
    pub async fn list(&self, is_admin: bool, with_contents: bool) -> Result<Value, ModuleError> {
        let mut modules = self.on_disk(Store::all).await?;
        modules.retain(|module| is_admin || module.is_visible());
        modules.sort_by(|one, other| other.updated.cmp(&one.updated));
        let contents = |module: &Module| with_contents.then(|| module.contents_for(is_admin));
        Ok(modules.iter().map(|module| module.result(contents(module).as_deref())).collect())
    }

    /// Removes a module. It is no error if it is not applied: after a rebuild of the server Trove knows of modules
    /// that the guest does not have.
    pub async fn remove(&self, id: &ModuleId) -> Result<(), ModuleError> {
        let _turn = self.changing.lock().await;
        let id = id.clone();
        self.on_disk(move |store| store.remove(&id)).await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, ModuleError> + Send + 'static,
    ) -> Result<T, ModuleError> {
        let store = Arc::clone(&self.store);
        system::blocking(move || work(&store)).await.map_err(|_| ModuleError::Stopping)?
    }
}
