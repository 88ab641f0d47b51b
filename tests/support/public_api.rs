//! Reads the documentation of the public items of a library. In this library `pub` is public: the lint
//! `unreachable_pub` refuses it elsewhere.

use std::path::Path;

use syn::visit::{self, Visit};

use crate::syntax::{attributes, is_left_out, leaves};

/// The documentation of a public type, trait or function, or of a public method of a type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Documented {
    /// The name: `Report`, or `Report::new`.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Whether it is a function with a number or a time among its parameters.
    pub(crate) takes_number: bool,
}

impl Documented {
    /// The type of a method, or the name itself.
    pub(crate) fn owner(&self) -> &str {
        self.name.split("::").next().unwrap_or_default()
    }

    /// Whether the text has an example that a test compiles: a block of Rust code that is not ignored.
    pub(crate) fn has_example(&self) -> bool {
        let fences = self.text.lines().filter_map(|line| line.trim_start().strip_prefix("```"));
        // The second fence of a pair ends the block.
        fences.step_by(2).any(|words| {
            words.split(',').map(str::trim).all(|word| ["", "rust", "no_run", "should_panic"].contains(&word))
        })
    }
}

/// Folders without public items: the command, and the simulation.
const LEFT_OUT: [&str; 2] = ["bin", "simulation"];

/// Reads the files below `folder`.
pub(crate) fn read(folder: &Path) -> Vec<Documented> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !LEFT_OUT.iter().any(|name| path.ends_with(name)) {
                found.extend(read(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(parse(&std::fs::read_to_string(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// The names that a module re-exports for everybody.
pub(crate) fn exported(file: &Path) -> Vec<String> {
    let module = syn::parse_file(&std::fs::read_to_string(file).unwrap()).unwrap();
    let imports = module.items.iter().filter_map(|item| match item {
        syn::Item::Use(import) if matches!(import.vis, syn::Visibility::Public(_)) => Some(&import.tree),
        _ => None,
    });
    imports.flat_map(|tree| leaves(tree, Vec::new())).map(|(name, _)| name).collect()
}

/// Reads one file.
pub(crate) fn parse(source: &str) -> Vec<Documented> {
    let mut reader = Reader::default();
    reader.visit_file(&syn::parse_file(source).unwrap());
    reader.found
}

#[derive(Default)]
struct Reader {
    found: Vec<Documented>,
}

impl Reader {
    fn add(&mut self, visibility: &syn::Visibility, name: String, attributes: &[syn::Attribute]) {
        if matches!(visibility, syn::Visibility::Public(_)) {
            self.found.push(Documented { name, text: text(attributes), takes_number: false });
        }
    }

    fn add_method(&mut self, owner: &syn::Ident, method: &syn::ImplItemFn) {
        let before = self.found.len();
        self.add(&method.vis, format!("{owner}::{}", method.sig.ident), &method.attrs);
        let takes_number = method.sig.inputs.iter().any(is_number);
        self.found[before..].iter_mut().for_each(|item| item.takes_number = takes_number);
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &syn::Item) {
        if is_left_out(attributes(item)) {
            return;
        }
        match item {
            syn::Item::Enum(item) => self.add(&item.vis, item.ident.to_string(), &item.attrs),
            syn::Item::Fn(item) => self.add(&item.vis, item.sig.ident.to_string(), &item.attrs),
            syn::Item::Struct(item) => self.add(&item.vis, item.ident.to_string(), &item.attrs),
            syn::Item::Trait(item) => self.add(&item.vis, item.ident.to_string(), &item.attrs),
            syn::Item::Type(item) => self.add(&item.vis, item.ident.to_string(), &item.attrs),
            syn::Item::Impl(item) if item.trait_.is_none() => {
                let syn::Type::Path(of) = &*item.self_ty else { return };
                let owner = &of.path.segments.last().unwrap().ident;
                for member in &item.items {
                    if let syn::ImplItem::Fn(method) = member
                        && !is_left_out(&method.attrs)
                    {
                        self.add_method(owner, method);
                    }
                }
            }
            // A function has no public items inside.
            syn::Item::Mod(_) => visit::visit_item(self, item),
            _ => {}
        }
    }
}

fn is_number(parameter: &syn::FnArg) -> bool {
    const NUMBERS: [&str; 7] = ["Duration", "f64", "u16", "u32", "u64", "u8", "usize"];
    match parameter {
        syn::FnArg::Typed(parameter) => match &*parameter.ty {
            syn::Type::Path(of) => NUMBERS.iter().any(|name| of.path.is_ident(name)),
            _ => false,
        },
        syn::FnArg::Receiver(_) => false,
    }
}

/// The documentation in these attributes, one line for each.
fn text(attributes: &[syn::Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let syn::Meta::NameValue(doc) = &attribute.meta
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) = &doc.value
        {
            text.push_str(&line.value());
            text.push('\n');
        }
    }
    text
}
