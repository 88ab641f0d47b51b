//! A program whose build created the group.

fn main() {
    println!("built with the group build-example on every host");
}
