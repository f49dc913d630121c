"""Reading files: what is text stays text, what is broken is told with its place."""

from __future__ import annotations

import csv
import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.data.rows import Row, Unreadable, UnreadableRow
from textmill.data.sources.files import FileFormat, FilesSource
from textmill.errors import InputError, TextmillError

FOUR_FORMATS = ["csv", "tsv", "jsonl", "parquet"]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, **settings: object) -> list[Row | UnreadableRow]:
    source = FilesSource({"train": path}, file_format=FileFormat(**settings))  # type: ignore[arg-type]
    return list(source.rows("train"))


def values(path: Path, **settings: object) -> list[dict[str, object]]:
    return [dict(row.values) for row in read(path, **settings) if isinstance(row, Row)]


def unreadable(path: Path, **settings: object) -> list[tuple[str, Unreadable]]:
    rows = read(path, **settings)
    return [(row.place, row.problem) for row in rows if isinstance(row, UnreadableRow)]


def problem(path: Path | str, **settings: object) -> str:
    with pytest.raises(TextmillError) as caught:
        read(Path(path), **settings)
    assert caught.value.exit_status == 2
    assert len(caught.value.problems) == 1
    assert "\n" not in caught.value.problems[0]
    return caught.value.problems[0]


def write_as(file_format: str, folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / f"data.{file_format}"
    if file_format == "jsonl":
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    elif file_format == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            delimiter = "," if file_format == "csv" else "\t"
            writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


class TestReading:
    @pytest.mark.parametrize("file_format", FOUR_FORMATS)
    def test_all_formats_give_the_same_values(self, tmp_path: Path, file_format: str) -> None:
        rows = [
            {"text": "naïve, but\tfun", "label": "pos"},
            {"text": 'he said "no"', "label": "neg"},
            {"text": "two\nlines", "label": "neg"},
        ]
        assert values(write_as(file_format, tmp_path, rows)) == rows

    @pytest.mark.parametrize("file_format", FOUR_FORMATS)
    @pytest.mark.parametrize("text", ["NA", "null", "None", "nan", "", "1", "true", " x "])
    def test_texts_that_look_like_something_else_stay_texts(
        self, tmp_path: Path, file_format: str, text: str
    ) -> None:
        rows = [{"text": text, "label": "NA"}]
        assert values(write_as(file_format, tmp_path, rows)) == rows

    def test_a_row_is_placed_at_the_line_it_starts_on(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text,label\n"one\n\nmore",x\n\ntwo,y\n')
        assert [row.place for row in read(path)] == ["a.csv:2", "a.csv:6"]

    def test_rows_of_json_lines_and_parquet_are_placed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", '{"text": "a"}\n\n{"text": "b"}\n')
        assert [row.place for row in read(path)] == ["a.jsonl:1", "a.jsonl:3"]
        table = pyarrow.table({"text": ["a"] * 2000})
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        places = [row.place for row in read(tmp_path / "a.parquet")]
        assert places[0] == "a.parquet row 1"
        assert places[-1] == "a.parquet row 2000"

    def test_files_of_the_same_name_are_told_apart(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write(tmp_path / name / "data.csv", f"text\n{name}\n")
        source = FilesSource({"train": [tmp_path / "a", tmp_path / "b"]})
        assert [row.place for row in source.rows("train")] == ["a/data.csv:2", "b/data.csv:2"]

    def test_blank_lines_are_passed_over(self, tmp_path: Path) -> None:
        content = "\ntext,label\n\na,x\n   \n\nb,y\n\n"
        assert [row["text"] for row in values(write(tmp_path / "a.csv", content))] == ["a", "b"]
        assert unreadable(tmp_path / "a.csv") == []

    def test_lines_of_blank_cells_are_passed_over(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\n,\na,x\n , \nb,y\n,\n")
        assert [row["text"] for row in values(path)] == ["a", "b"]
        assert unreadable(path) == []

    def test_an_empty_text_is_a_row_where_it_is_the_only_cell(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text\na\n""\nb\n')
        assert [row["text"] for row in values(path)] == ["a", "", "b"]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_any_line_end_will_do(self, tmp_path: Path, end: str) -> None:
        path = write(tmp_path / "a.csv", end.join(["text,label", "a,x", "b,y"]))
        assert [row["text"] for row in values(path)] == ["a", "b"]

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\na,x\n")
        assert values(path) == [{"text": "a", "label": "x"}]
        path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text": "a"}\n')
        assert values(path) == [{"text": "a"}]

    @pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8"])
    def test_other_encodings(self, tmp_path: Path, encoding: str) -> None:
        path = write(tmp_path / "a.csv", "text,label\ncafé,x\n".encode(encoding))
        assert values(path, encoding=encoding) == [{"text": "café", "label": "x"}]

    @pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
    def test_gzip(self, tmp_path: Path, name: str) -> None:
        content = "text\na\n" if "csv" in name else '{"text": "a"}\n'
        path = write(tmp_path / name, gzip.compress(content.encode()))
        assert values(path) == [{"text": "a"}]

    def test_without_a_header_columns_are_numbers(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tsv", "gj04\t1\t\tA sentence.\ngj05\t0\t*\tAnother.\n")
        source = FilesSource({"train": path}, file_format=FileFormat(header=False))
        assert source.columns("train") == ("0", "1", "2", "3")
        assert [row.values["3"] for row in source.rows("train")] == ["A sentence.", "Another."]  # type: ignore[union-attr]

    def test_lines_after_the_header_can_be_skipped(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tab", "Category\tText\nd\tstring\nclass\t\n\ntrade\tasian\n")
        found = read(path, skip_after_header=2, quoting=False)
        assert found == [Row("a.tab:5", {"Category": "trade", "Text": "asian"})]

    def test_quotes_can_be_plain_characters(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tsv", 'text\tlabel\n"open\tx\nsays "no" here\ty\n')
        texts = [row["text"] for row in values(path, quoting=False)]
        assert texts == ['"open', 'says "no" here']

    def test_another_delimiter(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text;label\na, b;x\n")
        assert values(path, delimiter=";") == [{"text": "a, b", "label": "x"}]

    def test_the_format_can_be_set_against_the_name(self, tmp_path: Path) -> None:
        assert values(write(tmp_path / "a.data", "text\na\n"), format="csv") == [{"text": "a"}]

    def test_an_index_column_of_pandas_is_numbered(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", ",text,label\n0,a,x\n")
        assert values(path) == [{"0": "0", "text": "a", "label": "x"}]

    def test_lists_and_numbers_keep_their_types(self, tmp_path: Path) -> None:
        row = {"text": "a", "labels": ["x", "y"], "rating": 1.5, "good": True, "note": None}
        assert values(write(tmp_path / "a.jsonl", json.dumps(row))) == [row]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "a.parquet")
        assert values(tmp_path / "a.parquet") == [row]

    def test_a_cell_may_be_longer_than_the_csv_module_thinks(self, tmp_path: Path) -> None:
        text = "word " * 50_000
        assert values(write(tmp_path / "a.csv", f"text,label\n{text},x\n"))[0]["text"] == text

    def test_columns_of_json_lines_are_all_that_appear(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": "b", "label": 1}\n')
        assert FilesSource({"train": path}).columns("train") == ("text", "label")

    @given(
        st.lists(
            st.tuples(
                st.text(
                    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t")
                ),
                st.sampled_from(["x", "y"]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_whatever_csv_writes_is_read_back(
        self, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
    ) -> None:
        path = tmp_path_factory.mktemp("csv") / "a.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        assert [(row["text"], row["label"]) for row in values(path)] == rows

    def test_memory_stays_flat(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\n" + "some words of a text,x\n" * 50_000)
        source = FilesSource({"train": path})
        tracemalloc.start()
        assert sum(1 for _ in source.rows("train")) == 50_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 500_000


class TestUnreadableRows:
    @pytest.mark.parametrize("row", ["a", "a,x,more", ",,,"])
    def test_wrong_width(self, tmp_path: Path, row: str) -> None:
        path = write(tmp_path / "a.csv", f"text,label\nfine,x\n{row}\nfine,y\n")
        assert unreadable(path) == [("a.csv:3", "wrong_width")]
        assert len(values(path)) == 2

    def test_undecodable_bytes_spoil_only_their_row(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\nnaïve,x\n".encode() + b"caf\xe9,y\nb,z\n")
        assert unreadable(path) == [("a.csv:3", "undecodable")]
        detail = [row.detail for row in read(path) if isinstance(row, UnreadableRow)]
        assert detail == ["caf\\xe9,y"]
        assert [row["label"] for row in values(path)] == ["x", "z"]

    def test_undecodable_bytes_of_a_multi_byte_encoding(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.csv", "text,label\n漢字,x\n".encode("gbk") + b"\x81\x20,y\nb,z\n"
        )
        assert unreadable(path, encoding="gbk") == [("a.csv:3", "undecodable")]

    def test_undecodable_json_lines(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.jsonl", b'{"text": "a"}\n{"text": "caf\xe9"}\n')
        assert unreadable(path) == [("a.jsonl:2", "undecodable")]

    def test_an_escaped_half_of_a_character_is_undecodable(self, tmp_path: Path) -> None:
        lines = ['{"text": "\\ud83d\\ude00"}', '{"text": "\\ud83d"}', '{"labels": ["\\udc00"]}']
        path = write(tmp_path / "a.jsonl", "\n".join(lines))
        assert unreadable(path) == [("a.jsonl:2", "undecodable"), ("a.jsonl:3", "undecodable")]

    def test_undecodable_parquet(self, tmp_path: Path) -> None:
        raw = pyarrow.array([b"fine", b"caf\xe9", b"fine"]).view(pyarrow.string())
        pyarrow.parquet.write_table(pyarrow.table({"text": raw}), tmp_path / "a.parquet")
        assert unreadable(tmp_path / "a.parquet") == [("a.parquet row 2", "undecodable")]
        assert len(values(tmp_path / "a.parquet")) == 2

    def test_null_bytes_in_text(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\n" + "fine,x\n" * 100 + "a\0b,y\n")
        assert unreadable(path) == [("a.csv:102", "undecodable")]

    @pytest.mark.parametrize("line", ['{"text": ', "[1, 2]", '"text"', "{'text': 'a'}", "[" * 9999])
    def test_malformed_json_lines(self, tmp_path: Path, line: str) -> None:
        path = write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n{line}\n{{"text": "b"}}\n')
        assert unreadable(path) == [("a.jsonl:2", "malformed")]
        assert len(values(path)) == 2

    def test_text_behind_a_closing_quote(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text,label\n"a" b,x\nfine,y\n')
        assert unreadable(path) == [("a.csv:2", "malformed")]
        assert values(path) == [{"text": "fine", "label": "y"}]

    def test_an_unclosed_quote_is_not_taken_for_the_rest_of_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text,label\nfine,x\n"never closed,y\nfine,z\n')
        assert unreadable(path) == [("a.csv:3", "malformed")]

    def test_an_unclosed_quote_in_a_huge_file_stops_the_reading(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text\n"never closed\n' + ("x" * 1000 + "\n") * 17_000)
        assert "never closed, in" in problem(path)
        assert "a.csv:2" in problem(path)


class TestRefusedFiles:
    @pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
    def test_empty_file(self, tmp_path: Path, name: str) -> None:
        assert "the file is empty" in problem(write(tmp_path / name, ""))
        assert "only blank lines" in problem(write(tmp_path / name, "\n\n"))

    @pytest.mark.parametrize(
        ("head", "what"),
        [
            (b"PK\x03\x04....", "a zip or Excel file"),
            (gzip.compress(b"text\na\n", mtime=0), "a gzip file"),
            (b"PAR1....", "a parquet file"),
            (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
            (bytes(range(256)), "binary data"),
            ("text\nä\n".encode("utf-16"), "text in UTF-16"),
        ],
    )
    def test_binary_file_with_the_name_of_a_text(
        self, tmp_path: Path, head: bytes, what: str
    ) -> None:
        assert f"not text but {what}" in problem(write(tmp_path / "a.csv", head))

    def test_binary_file_in_gzip(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv.gz", gzip.compress(b"\x89PNG\r\n\x1a\n", mtime=0))
        assert "a PNG picture" in problem(path)

    def test_damaged_gzip(self, tmp_path: Path) -> None:
        packed = gzip.compress(os.urandom(50_000).hex().encode())
        path = write(tmp_path / "a.csv.gz", packed[: len(packed) // 2])
        assert "the gzip file is damaged" in problem(path)
        assert "the gzip file is damaged" in problem(write(tmp_path / "b.csv.gz", "text\na\n"))

    @pytest.mark.parametrize("content", [b"", b"text\na\n", b"PAR1junk"])
    def test_broken_parquet(self, tmp_path: Path, content: bytes) -> None:
        assert "parquet file is damaged" in problem(write(tmp_path / "a.parquet", content))

    def test_parquet_broken_in_the_middle(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        pyarrow.parquet.write_table(
            pyarrow.table({"text": [f"text {n}" for n in range(5000)]}), path, compression="gzip"
        )
        content = bytearray(path.read_bytes())
        content[100:2000] = os.urandom(1900)
        path.write_bytes(content)
        assert "damaged" in problem(path) or "can't be read" in problem(path)

    def test_json_array(self, tmp_path: Path) -> None:
        assert "JSON array" in problem(write(tmp_path / "a.json", '[{"text": "a"}]'))

    @pytest.mark.parametrize(
        ("header", "what"),
        [
            ("text,text", "'text' twice"),
            ("text,,label", "no name for column 1"),
            (" a ,a", "twice"),
        ],
    )
    def test_header_with_unusable_names(self, tmp_path: Path, header: str, what: str) -> None:
        assert what in problem(write(tmp_path / "a.csv", f"{header}\n1,2\n"))

    def test_undecodable_header(self, tmp_path: Path) -> None:
        message = problem(write(tmp_path / "a.csv", b"caf\xe9,label\na,x\n"))
        assert "caf\\xe9" in message
        assert "data.encoding" in message

    def test_unknown_ending(self, tmp_path: Path) -> None:
        assert "set data.format" in problem(write(tmp_path / "a.data", "text\na\n"))

    @pytest.mark.parametrize("encoding", ["utf-9", "hex", ""])
    def test_unknown_encoding(self, tmp_path: Path, encoding: str) -> None:
        path = write(tmp_path / "a.csv", "text\na\n")
        assert "data.encoding" in problem(path, encoding=encoding)

    @pytest.mark.parametrize("delimiter", ["", "||", "\n", '"'])
    def test_impossible_delimiter(self, tmp_path: Path, delimiter: str) -> None:
        path = write(tmp_path / "a.csv", "text\na\n")
        assert "data.delimiter" in problem(path, delimiter=delimiter)

    def test_file_that_may_not_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "a.csv", "text\na\n")

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        assert "may not be read" in problem(path)


class TestFindingFiles:
    def test_missing_file_names_its_neighbours(self, tmp_path: Path) -> None:
        write(tmp_path / "reviews.csv", "text\na\n")
        message = problem(tmp_path / "review.csv")
        assert "no such file" in message
        assert "reviews.csv" in message

    def test_missing_folder(self, tmp_path: Path) -> None:
        assert "doesn't exist either" in problem(tmp_path / "nowhere" / "a.csv")

    def test_empty_neighbourhood(self, tmp_path: Path) -> None:
        assert "is empty" in problem(tmp_path / "a.csv")

    def test_glob_that_matches_nothing(self, tmp_path: Path) -> None:
        write(tmp_path / "train-1.csv", "text\na\n")
        message = problem(tmp_path / "test-*.csv")
        assert "no file matches" in message
        assert "train-1.csv" in message

    def test_glob_takes_files_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        for number in (2, 1, 3):
            write(tmp_path / "sub" / f"part{number}.csv", f"text\n{number}\n")
        (tmp_path / "sub" / "part4.csv").mkdir()
        for pattern in ("sub/part*.csv", "**/*.csv", "s?b/part[123].csv"):
            source = FilesSource({"train": pattern}, root=tmp_path)
            texts = [row.values["text"] for row in source.rows("train")]  # type: ignore[union-attr]
            assert texts == ["1", "2", "3"]

    def test_signs_of_a_glob_may_be_part_of_a_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a[1]" / "b[2].csv", "text\na\n")
        assert values(path) == [{"text": "a"}]
        source = FilesSource({"train": "b*.csv"}, root=path.parent)
        assert len(list(source.rows("train"))) == 1

    def test_folder_gives_its_data_files(self, tmp_path: Path) -> None:
        write(tmp_path / "b.csv", "text\nb\n")
        write(tmp_path / "a.csv", "text\na\n")
        write(tmp_path / ".hidden.csv", "other\nb\n")
        write(tmp_path / "LICENSE", "words")
        assert values(tmp_path) == [{"text": "a"}, {"text": "b"}]

    def test_folder_without_data_files(self, tmp_path: Path) -> None:
        write(tmp_path / "notes.md", "words")
        assert "no data files" in problem(tmp_path)

    def test_folder_with_a_set_format_takes_files_of_any_name(self, tmp_path: Path) -> None:
        write(tmp_path / "part-0001", "text\na\n")
        assert values(tmp_path, format="csv") == [{"text": "a"}]

    def test_root_alone_is_split_by_the_usual_names(self, tmp_path: Path) -> None:
        for name in ("train-1", "train-2", "dev", "test", "other"):
            write(tmp_path / f"{name}.csv", f"text\n{name}\n")
        source = FilesSource({}, root=tmp_path)
        assert source.splits() == ("train", "validation", "test")
        assert len(list(source.rows("train"))) == 2

    def test_root_alone_without_usual_names_is_all_train(self, tmp_path: Path) -> None:
        write(tmp_path / "reviews.csv", "text\na\n")
        for root in (tmp_path, tmp_path / "reviews.csv"):
            source = FilesSource({}, root=root)
            assert source.splits() == ("train",)
            assert source.describe() == str(root)

    def test_nothing_named_at_all(self) -> None:
        with pytest.raises(InputError, match=r"data\.train=FILE"):
            FilesSource({})

    def test_a_file_named_twice_is_read_once(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text\na\n")
        source = FilesSource({"train": [path, tmp_path, str(path)]})
        assert len(list(source.rows("train"))) == 1

    def test_what_is_no_regular_file(self) -> None:
        assert "not a regular file" in problem("/dev/null")

    def test_all_problems_at_once(self, tmp_path: Path) -> None:
        write(tmp_path / "a.csv", "")
        write(tmp_path / "b.csv", "text,text\n")
        with pytest.raises(InputError) as caught:
            FilesSource({"train": tmp_path / "x.csv", "test": tmp_path / "y.csv"})
        assert len(caught.value.problems) == 2
        with pytest.raises(InputError) as caught:
            FilesSource({"train": tmp_path / "a.csv", "test": tmp_path / "b.csv"})
        assert len(caught.value.problems) == 2

    def test_files_of_a_split_must_have_the_same_columns(self, tmp_path: Path) -> None:
        write(tmp_path / "a.csv", "text,label\na,x\n")
        write(tmp_path / "b.csv", "text,stars\nb,1\n")
        assert "different columns" in problem(tmp_path)
        write(tmp_path / "b.csv", "label,text\ny,b\n")
        assert values(tmp_path) == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]

    def test_splits_may_have_different_columns(self, tmp_path: Path) -> None:
        train = write(tmp_path / "a.csv", "text,label\na,x\n")
        test = write(tmp_path / "b.csv", "text\nb\n")
        source = FilesSource({"test": test, "train": train})
        assert source.splits() == ("train", "test")
        assert source.columns("test") == ("text",)
        assert source.describe() in (str(tmp_path), os.path.relpath(tmp_path))


class TestFingerprint:
    def test_it_follows_the_content_and_not_the_place(self, tmp_path: Path) -> None:
        first = write(tmp_path / "a.csv", "text\na\n")
        moved = write(tmp_path / "elsewhere" / "b.csv", "text\na\n")
        before = FilesSource({"train": first}).fingerprint()
        assert before == FilesSource({"train": moved}).fingerprint()
        write(first, "text\nb\n")
        assert before != FilesSource({"train": first}).fingerprint()

    def test_it_follows_the_settings_and_the_splits(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text\na\n")
        prints = {
            FilesSource({"train": path}).fingerprint(),
            FilesSource({"test": path}).fingerprint(),
            FilesSource({"train": path}, file_format=FileFormat(header=False)).fingerprint(),
            FilesSource({"train": path}, file_format=FileFormat(encoding="latin-1")).fingerprint(),
        }
        assert len(prints) == 4
