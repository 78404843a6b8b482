//! `module_list`, `module_apply`, `module_remove`: files that users of Trove have applied to the instance.

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{
    DecodeError, Field, Fields,
    trove::{Caller, Method},
};

use super::{Arguments, Command, Decode, Entry, Guest, Needs, Run, RunError, Running, entry};
use crate::modules::{ModuleId, NewModule};

pub(super) const COMMANDS: &[Entry] = &[
    entry::<ModuleApply>(Method::ModuleApply),
    entry::<ModuleList>(Method::ModuleList),
    entry::<ModuleRemove>(Method::ModuleRemove),
];

/// What Trove has if a module is for everything.
const ALL: &str = "all";

/// Each module of a command is a file.
const MOST: usize = 100;

/// `module_list`: the modules that are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModuleList {
    with_contents: bool,
    caller: Caller,
}

impl Decode for ModuleList {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let with_contents = args.optional_as("include_contents", Field::flag)?.unwrap_or_default();
        Ok(Self { with_contents, caller: args.caller() })
    }
}

impl Command for ModuleList {
    fn method(&self) -> Method {
        Method::ModuleList
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        let listed = guest.modules.list(self.caller.is_admin, self.with_contents);
        listed.map(|listed| listed.map_err(RunError::Module)).boxed()
    }
}

/// `module_apply`: applies modules, and answers with the result of each.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModuleApply(Vec<NewModule>);

impl Decode for ModuleApply {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        read(&args.required("modules")?).map(Self)
    }
}

/// Modules, in the order in which they are to be applied: `priority_apply` first, then by `apply_order`. Trove
/// before modules had an order sends neither.
pub(super) fn read(modules: &Field<'_>) -> Result<Vec<NewModule>, DecodeError> {
    let module = |item: &Field<'_>| {
        let module = item.object()?.required("module")?.object()?;
        let order = module.optional_as("apply_order", Field::number)?.unwrap_or_default();
        let is_first = module.optional_as("priority_apply", Field::flag)?.unwrap_or_default();
        Ok((is_first, order, new_module(&module)?))
    };
    let mut all = modules.list_of(module)?;
    if all.len() > MOST {
        return Err(modules.wrong("a list of at most 100 modules"));
    }
    all.sort_by(|(first, one, _), (second, other, _)| second.cmp(first).then(one.total_cmp(other)));
    Ok(all.into_iter().map(|(_, _, module)| module).collect())
}

fn new_module(module: &Fields<'_>) -> Result<NewModule, DecodeError> {
    let text = |key: &str| module.optional_as(key, short);
    let or_all = |key: &str| Ok(text(key)?.unwrap_or_else(|| ALL.to_owned()));
    let flag = |key: &str| module.optional_as(key, Field::flag);
    let (tenant, auto_apply) = (or_all("tenant")?, flag("auto_apply")?.unwrap_or(true));
    let visible = flag("visible")?.unwrap_or(true);
    // As Trove's guests judge a module of a Trove that does not say it.
    let is_admin = flag("is_admin")?.unwrap_or(tenant == ALL || auto_apply || !visible);
    Ok(NewModule {
        id: id(module)?,
        name: short(&module.required("name")?)?,
        kind: short(&module.required("type")?)?,
        tenant,
        datastore: or_all("datastore")?,
        datastore_version: or_all("datastore_version")?,
        contents: module.required("contents")?.secret()?,
        md5: text("md5")?,
        auto_apply,
        visible,
        is_admin,
    })
}

/// As long as a column of Trove's database.
fn short(field: &Field<'_>) -> Result<String, DecodeError> {
    field.short::<255>("text of at most 255 bytes")
}

fn id(module: &Fields<'_>) -> Result<ModuleId, DecodeError> {
    let field = module.required("id")?;
    ModuleId::try_from(field.string()?).map_err(|expected| field.wrong(expected))
}

impl Command for ModuleApply {
    fn method(&self) -> Method {
        Method::ModuleApply
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move { guest.modules.apply(&self.0).await.map_err(RunError::Module) }.boxed()
    }
}

/// `module_remove`: forgets a module.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModuleRemove(ModuleId);

impl Decode for ModuleRemove {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        id(&args.required("module")?.object()?.required("module")?.object()?).map(Self)
    }
}

impl Command for ModuleRemove {
    fn method(&self) -> Method {
        Method::ModuleRemove
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            guest.modules.remove(&self.0).await.map_err(RunError::Module)?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::commands::tests::typed;

    fn module(name: &str, more: &Value) -> Value {
        let mut module = json!({"id": name, "name": name, "type": "ping", "contents": "aGkK"});
        module.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "module": module })
    }

    #[test]
    fn they_are_applied_in_troves_order() {
        let modules = json!([
            module("a", &json!({"apply_order": 5, "priority_apply": false})),
            module("b", &json!({"apply_order": 1, "priority_apply": false})),
            module("c", &json!({"apply_order": 9, "priority_apply": true})),
            module("d", &json!({"apply_order": 5, "priority_apply": false})),
        ]);
        let ModuleApply(read) = typed(&json!({ "modules": modules })).unwrap();
        assert_eq!(read.iter().map(|module| module.id.as_str()).collect::<Vec<_>>(), ["c", "b", "a", "d"]);
    }

    #[test]
    fn a_module_of_an_old_trove_is_an_administrators_unless_it_is_a_projects_own() {
        let is_admin = |more: &Value| {
            let ModuleApply(read) = typed(&json!({ "modules": [module("a", more)] })).unwrap();
            read[0].is_admin
        };
        assert!(is_admin(&json!({})));
        assert!(is_admin(&json!({"tenant": "p", "auto_apply": false, "visible": false})));
        assert!(!is_admin(&json!({"tenant": "p", "auto_apply": false})));
        assert!(!is_admin(&json!({"is_admin": false})));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for more in [
            json!({"id": "../../x"}),
            json!({"id": null}),
            json!({"id": 5}),
            json!({"name": null}),
            json!({"contents": null}),
            json!({"name": "x".repeat(256)}),
            json!({"type": ["ping"]}),
            json!({"apply_order": "first"}),
        ] {
            assert!(typed::<ModuleApply>(&json!({ "modules": [module("a", &more)] })).is_err(), "{more}");
        }
        for modules in
            [json!({}), json!([{}]), json!([{"module": []}]), json!(vec![module("a", &json!({})); 101])]
        {
            assert!(typed::<ModuleApply>(&json!({ "modules": modules })).is_err());
        }
        assert!(typed::<ModuleRemove>(&json!({"module": {"module": {"id": "a/b"}}})).is_err());
        assert!(typed::<ModuleRemove>(&json!({"module": {"id": "a"}})).is_err());
    }
}
