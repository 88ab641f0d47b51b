//! Reads the modules of a library with a real parser: which module names which, without anything that only a test
//! builds.
//!
//! Not resolved: macros that define modules, and names that a glob import brings. The house has neither.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};

use crate::syntax::{attributes, is_left_out, leaves};

/// The modules of a library, by their path: `client::driver`. The root has the empty path.
pub(crate) struct SourceTree {
    pub(crate) modules: BTreeMap<String, Module>,
}

/// One file of the library.
#[derive(Default)]
pub(crate) struct Module {
    /// Paths that the file names, each in full: `crate::api::Action`, `std::fs::read`.
    pub(crate) paths: BTreeSet<String>,
    /// Paths that the file re-exports.
    pub(crate) reexports: BTreeSet<String>,
    /// Names of the types and traits that the file declares.
    pub(crate) types: BTreeSet<String>,
    pub(crate) macros: BTreeSet<String>,
    pub(crate) methods: BTreeSet<String>,
}

impl SourceTree {
    /// Reads the library below `root`, beginning at `lib.rs`. Modules that only tests or fuzzing build are left out.
    pub(crate) fn read(root: &Path) -> Self {
        Self::parse(&|file| std::fs::read_to_string(root.join(file)).ok())
    }

    /// Reads a library whose files `text` returns.
    pub(crate) fn parse(text: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut tree = SourceTree { modules: BTreeMap::new() };
        tree.add(text, "lib.rs", &[]);
        tree
    }

    fn add(&mut self, text: &dyn Fn(&str) -> Option<String>, file: &str, path: &[String]) {
        let source = text(file).unwrap_or_else(|| panic!("{file} cannot be read"));
        let parsed = syn::parse_file(&source).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut reader = Reader { at: path.to_vec(), ..Reader::default() };
        reader.declare(&parsed.items, path);
        reader.visit_file(&parsed);
        for child in &reader.files {
            let stem = child.join("/");
            let file = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
            let file = file.iter().find(|file| text(file).is_some()).unwrap_or_else(|| panic!("no file for {stem}"));
            self.add(text, file, child);
        }
        self.modules.insert(path.join("::"), reader.module);
    }

    /// The module that defines what `path` names, if it is in this library: the longest prefix that is a file.
    pub(crate) fn module_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = path.strip_prefix("crate::")?;
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).filter(|path| self.modules.contains_key(*path)).last()
    }

    /// For each module the other modules whose items it uses. A module and those below it are one thing in several files,
    /// so imports between them do not count.
    pub(crate) fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let is_within = |inner: &str, outer: &str| inner == outer || inner.starts_with(&format!("{outer}::"));
        let mut imports = BTreeMap::new();
        for (name, module) in &self.modules {
            let used = module.paths.iter().filter_map(|path| self.module_of(path));
            let used = used.filter(|used| !is_within(used, name) && !is_within(name, used));
            imports.insert(name.as_str(), used.collect());
        }
        imports
    }

    /// The names that stand for types of several files, with these files.
    pub(crate) fn shared_names(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (module, content) in &self.modules {
            content.types.iter().for_each(|name| names.entry(name).or_default().push(module));
        }
        names.retain(|_, files| files.len() > 1);
        names
    }

    /// The modules that import each other in a circle, directly or through others: each group in order.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
        let imports = self.imports();
        let all_below = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut open: Vec<&str> = imports[from].iter().copied().collect();
            while let Some(module) = open.pop() {
                if seen.insert(module) {
                    open.extend(&imports[module]);
                }
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            imports.keys().map(|module| (*module, all_below(module))).collect();
        let circle_of =
            |a: &str| -> Vec<&str> { reached[a].iter().copied().filter(|b| reached[b].contains(a)).collect() };
        let circles: BTreeSet<Vec<&str>> = reached.keys().map(|module| circle_of(module)).collect();
        circles.into_iter().filter(|circle| !circle.is_empty()).collect()
    }
}

/// Collects what one file names.
#[derive(Default)]
struct Reader {
    module: Module,
    /// Path of the module that is being read, which may be inline.
    at: Vec<String>,
    /// Modules below this file that are files of their own.
    files: Vec<Vec<String>>,
    /// Full path of each name, by the module that declares or imports it.
    names: BTreeMap<(Vec<String>, String), Vec<String>>,
}

impl Reader {
    /// Notes the modules and imports of `items`, so that a name can be used above its declaration.
    fn declare(&mut self, items: &[syn::Item], at: &[String]) {
        for item in items.iter().filter(|item| !is_left_out(attributes(item))) {
            match item {
                syn::Item::Mod(module) => {
                    let child = [at, &[module.ident.to_string()]].concat();
                    let full = [&["crate".to_owned()], child.as_slice()].concat();
                    self.names.insert((at.to_vec(), module.ident.to_string()), full);
                    match &module.content {
                        None => self.files.push(child),
                        Some((_, items)) => self.declare(items, &child),
                    }
                }
                syn::Item::Use(import) => {
                    for (name, path) in leaves(&import.tree, Vec::new()) {
                        let path = self.in_full(&path, at);
                        self.names.insert((at.to_vec(), name), path);
                    }
                }
                _ => {}
            }
        }
    }

    /// The path from the root of the crate or from another crate.
    fn in_full(&self, path: &[String], at: &[String]) -> Vec<String> {
        let mut at = at.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("self") => rest = &path[1..],
            Some("super") => {
                while rest.first().is_some_and(|word| word == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            _ => {
                return match path.first().and_then(|first| self.names.get(&(at, first.clone()))) {
                    Some(full) => [full, &path[1..]].concat(),
                    None => path.to_vec(),
                };
            }
        }
        [vec!["crate".to_owned()], at, rest.to_vec()].concat()
    }

    fn name(&mut self, path: &[String]) {
        let full = self.in_full(path, &self.at);
        self.module.paths.insert(full.join("::"));
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &syn::Item) {
        if is_left_out(attributes(item)) {
            return;
        }
        self.module.types.extend(declared_type(item));
        match item {
            syn::Item::Mod(module) => {
                self.at.push(module.ident.to_string());
                visit::visit_item_mod(self, module);
                self.at.pop();
            }
            syn::Item::Use(import) => {
                let paths = leaves(&import.tree, Vec::new());
                let paths = paths.iter().map(|(_, path)| self.in_full(path, &self.at).join("::")).collect::<Vec<_>>();
                match import.vis {
                    syn::Visibility::Inherited => self.module.paths.extend(paths),
                    _ => self.module.reexports.extend(paths),
                }
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_left_out(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_local(&mut self, local: &syn::Local) {
        if !is_left_out(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_field(&mut self, field: &syn::Field) {
        if !is_left_out(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_attribute(&mut self, _: &syn::Attribute) {}

    fn visit_path(&mut self, path: &syn::Path) {
        self.name(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        self.module.methods.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.module.macros.insert(call.path.segments.last().unwrap().ident.to_string());
        // The arguments of most macros are expressions or statements. Others are left out.
        let tokens = call.tokens.clone();
        if let Ok(arguments) = Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated.parse2(tokens.clone()) {
            for argument in &arguments {
                self.visit_expr(argument);
            }
        } else if let Ok(statements) = syn::Block::parse_within.parse2(tokens) {
            for statement in &statements {
                self.visit_stmt(statement);
            }
        }
    }
}

/// The name of the type or trait that `item` declares.
fn declared_type(item: &syn::Item) -> Option<String> {
    match item {
        syn::Item::Enum(item) => Some(item.ident.to_string()),
        syn::Item::Struct(item) => Some(item.ident.to_string()),
        syn::Item::Trait(item) => Some(item.ident.to_string()),
        syn::Item::Type(item) => Some(item.ident.to_string()),
        _ => None,
    }
}
