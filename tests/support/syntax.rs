//! Questions about parsed source: the names in an import, the attributes of an item.

use syn::punctuated::Punctuated;

/// Each name that an import brings, with its path as written.
pub(crate) fn leaves(tree: &syn::UseTree, mut path: Vec<String>) -> Vec<(String, Vec<String>)> {
    match tree {
        syn::UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            leaves(&inner.tree, path)
        }
        syn::UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, path.clone())).collect(),
        syn::UseTree::Glob(_) => vec![("*".to_owned(), path)],
        syn::UseTree::Name(name) if name.ident == "self" => {
            vec![(path.last().cloned().unwrap_or_default(), path)]
        }
        syn::UseTree::Name(name) => {
            path.push(name.ident.to_string());
            vec![(name.ident.to_string(), path)]
        }
        syn::UseTree::Rename(name) => {
            if name.ident != "self" {
                path.push(name.ident.to_string());
            }
            vec![(name.rename.to_string(), path)]
        }
    }
}

/// Whether only tests, model checks or fuzzing build what has these attributes.
pub(crate) fn is_left_out(attributes: &[syn::Attribute]) -> bool {
    fn requires(condition: &syn::Meta) -> bool {
        match condition {
            syn::Meta::Path(path) => ["test", "loom", "fuzzing", "doc"].iter().any(|name| path.is_ident(name)),
            syn::Meta::List(list) if list.path.is_ident("all") => {
                let all = list.parse_args_with(Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated);
                all.is_ok_and(|all| all.iter().any(requires))
            }
            _ => false,
        }
    }
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.filter_map(|cfg| cfg.parse_args::<syn::Meta>().ok()).any(|condition| requires(&condition))
}

pub(crate) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
