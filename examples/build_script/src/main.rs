//! A program that needs the group.

fn main() {
    println!("built with the group build-example on every host");
}
