//! Rows, which become cards where the window is narrow. The roles of a table are said again, because a browser forgets
//! them for cells that are laid out as blocks.

use maud::{Markup, html};

/// One column: its heading, its classes, and whether its heading is said on the card too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) name: &'static str,
    /// `lead`, `st`, `tell`, `num`, `nw`, `mono`: what kind of column it is.
    pub(crate) class: &'static str,
    /// The heading is for ears alone.
    pub(crate) is_hidden: bool,
}

impl Column {
    /// A column with its heading.
    pub(crate) const fn new(name: &'static str, class: &'static str) -> Self {
        Self { name, class, is_hidden: false }
    }

    /// A column whose heading is not shown.
    pub(crate) const fn silent(name: &'static str, class: &'static str) -> Self {
        Self { name, class, is_hidden: true }
    }
}

/// The table. A cell without content is none on a card.
pub(crate) fn table(caption: &str, columns: &[Column], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table.cards role="table" {
            caption.vh { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for column in columns {
                        th.(column.class) scope="col" role="columnheader" {
                            @if column.is_hidden { span.vh { (column.name) } } @else { (column.name) }
                        }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (column, cell) in columns.iter().zip(row) {
                            td.(column.class).none[cell.0.is_empty()] role="cell" data-l=(column.name)
                                { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}
