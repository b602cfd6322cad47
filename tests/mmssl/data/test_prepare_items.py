"""`prepare` with an item table of other column names, and with a modality that nobody has."""

import numpy as np
import pytest

from extract.errors import InputError
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import PrepareConfig, prepare


@pytest.fixture
def interactions(tmp_path):
    path = tmp_path / "likes.csv"
    path.write_text("user,item\n" + "".join(f"u{n},{n % 3}\n" for n in range(6)))
    return path


def test_the_tables_id_column_can_be_named(tmp_path, interactions):
    (tmp_path / "catalogue.csv").write_text("sku,name\n0,a\n1,b\n2,c\n9,never touched\n")
    given = {"interactions": interactions, "items": tmp_path / "catalogue.csv"}
    with pytest.raises(InputError, match="name one with --id-column"):
        prepare(PrepareConfig(out=tmp_path / "data", **given))
    prepare(PrepareConfig(out=tmp_path / "data", id_column="sku", **given))
    assert Dataset.open(tmp_path / "data").item_ids.ids == ["0", "1", "2", "9"]


def test_an_id_column_without_a_table_is_refused(tmp_path, interactions):
    with pytest.raises(InputError, match="--id-column does not apply: there is no --items"):
        PrepareConfig(out=tmp_path / "data", interactions=interactions, id_column="sku")


def test_a_modality_that_no_item_has_is_refused(tmp_path, interactions):
    np.save(tmp_path / "image.npy", np.full((3, 4), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="not one item has a vector of image"):
        prepare(
            PrepareConfig(
                out=tmp_path / "data",
                interactions=interactions,
                features={"image": tmp_path / "image.npy"},
            )
        )
