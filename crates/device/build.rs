//! Makes a table of the files of platforms: what tells them apart as it is, and each with what it takes over as JSON,
//! which nothing reads before the platform is used.

use std::{collections::BTreeMap, env, error::Error, fs, path::Path};

use serde_json::{Map, Value};

/// How often a platform may take over from another that takes over.
const LIKE_DEPTH_MAX: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=platforms");
    let mut files: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for entry in fs::read_dir("platforms")? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let cannot = |why: String| format!("{}: {why}", path.display());
            let value: Map<String, Value> = serde_saphyr::from_str(&fs::read_to_string(&path)?)
                .map_err(|error| cannot(error.to_string()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if value.get("name").and_then(Value::as_str) != Some(&name) {
                return Err(cannot("its `name` is another one".to_owned()).into());
            }
            files.insert(name, value);
        }
    }
    let mut taken = BTreeMap::new();
    let mut rows = Vec::new();
    for name in files.keys() {
        let mut whole = merged(name, &files, 0).map_err(|why| format!("platforms/{name}.yaml: {why}"))?;
        let mut take = |member: &str| whole.shift_remove(member).unwrap_or_default();
        let (aliases, signs, _) = (take("aliases"), take("detect"), take("like"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let aliases: Vec<String> = aliases.as_array().into_iter().flatten().map(text).collect();
        let signs = signs.as_array().into_iter().flatten();
        let signs: Vec<_> = signs.map(|sign| (text(&sign["ask"]), text(&sign["line"]))).collect();
        for one in aliases.iter().chain([name]) {
            if let Some(other) = taken.insert(one.clone(), name) {
                return Err(format!("platforms/{name}.yaml: {one:?} is a name of {other} too").into());
            }
        }
        let (title, whole) = (text(&whole["title"]), Value::Object(whole).to_string());
        rows.push(format!(
            "File {{ name: {name:?}, title: {title:?}, aliases: &{aliases:?}, signs: &{signs:?}, text: {whole:?} }}"
        ));
    }
    let table = format!("&[{}]", rows.join(", "));
    #[expect(clippy::disallowed_methods, reason = "this is how a build is told where it writes")]
    let folder = env::var("OUT_DIR")?;
    fs::write(Path::new(&folder).join("platforms.rs"), table)?;
    Ok(())
}

/// A platform with what it takes over.
fn merged(
    name: &str,
    files: &BTreeMap<String, Map<String, Value>>,
    depth: usize,
) -> Result<Map<String, Value>, String> {
    let own = files.get(name).ok_or_else(|| format!("there is no {name:?} to be like"))?;
    if depth > LIKE_DEPTH_MAX {
        return Err("it takes over from too many".to_owned());
    }
    let Some(like) = own.get("like").and_then(Value::as_str) else { return Ok(own.clone()) };
    let mut whole = merged(like, files, depth + 1)?;
    // What names a platform, and not what it is like, is its own.
    for own_only in ["aliases", "templates", "detect"] {
        whole.shift_remove(own_only);
    }
    lay_over(&mut whole, own);
    Ok(whole)
}

/// Lays members over others: objects are merged, `reads`, `acts` and `traps` are added to, everything else is replaced.
fn lay_over(whole: &mut Map<String, Value>, own: &Map<String, Value>) {
    for (name, value) in own {
        match (whole.get_mut(name), value) {
            (Some(Value::Object(below)), Value::Object(above)) => lay_over(below, above),
            (Some(Value::Array(below)), Value::Array(above))
                if ["reads", "acts", "traps"].contains(&name.as_str()) =>
            {
                below.extend(above.clone());
            }
            _ => drop(whole.insert(name.clone(), value.clone())),
        }
    }
}
