"""Which language is a surname from? Text out of a database, predictions back into it.

It runs on SQLite as it is, and with --url on PostgreSQL and MariaDB:

    python examples/text_from_database.py --url postgresql://user@host/database
"""

import argparse
from importlib import import_module
from pathlib import Path

import sqlalchemy as sa
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fireworks import Message, create_table, create_trainer, train_test_split
from fireworks.database import connect
from fireworks.sources import (
    BatchingSource,
    LabelerSource,
    MapSource,
    MessageSource,
    PadSource,
    QuerySource,
    TableSource,
    TokenizerSource,
    WriterSource,
)

LOCALES = [
    "cs_CZ", "de_DE", "en_US", "es_ES", "et_EE", "fi_FI", "fr_FR", "ga_IE", "hr_HR", "id_ID",
    "it_IT", "nl_NL", "sk_SK", "sv_SE",
]  # fmt: skip
LONGEST = 200  # characters of a text that are read


def surnames(most: int) -> list[tuple[str, str]]:
    """Return (surname, locale) pairs from Faker's lists: real names, at most so many a locale."""
    pairs = []
    for locale in LOCALES:
        names = import_module(f"faker.providers.person.{locale}").Provider.last_names
        pairs += [(name, locale) for name in sorted(set(names))[:most]]
    return pairs


def newsgroups(most: int) -> list[tuple[str, str]]:
    """Return (post, group) pairs, which scikit-learn downloads."""
    from sklearn.datasets import fetch_20newsgroups

    posts = fetch_20newsgroups(subset="all", remove=("headers", "footers", "quotes"))
    labels = [posts.target_names[each] for each in posts.target]
    pairs = [
        (text.strip()[:LONGEST], label) for text, label in zip(posts.data, labels, strict=True)
    ]
    return [each for each in pairs if each[0]][: most * len(posts.target_names)]


def load(pairs: list[tuple[str, str]], url: str) -> None:
    """Write the corpus into a table of the database."""
    texts, labels = zip(*pairs, strict=True)
    rows = Message({"id": range(len(pairs)), "text": list(texts), "label": list(labels)})
    table = create_table("texts", rows, url)
    writer = MessageSource(rows) >> BatchingSource(4_096) >> WriterSource(table, url)
    print(f"Wrote {writer.drain()} texts of {rows['label'].nunique()} kinds to the table texts")


class Reader(nn.Module):
    """A bidirectional LSTM over characters; attention chooses which of them to look at."""

    def __init__(self, characters: int, labels: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, width, batch_first=True, bidirectional=True)
        self.attend = nn.Linear(2 * width, 1)
        self.classify = nn.Sequential(nn.Dropout(0.4), nn.Linear(2 * width, labels))

    def forward(self, text: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Return a score for each label, shape (rows, labels); ``text`` is padded with zeros."""
        packed = pack_padded_sequence(self.embed(text), length.cpu(), True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        is_padding = torch.arange(states.shape[1], device=length.device) >= length[:, None]
        scores = self.attend(states).squeeze(2).masked_fill(is_padding, -torch.inf)
        return self.classify((scores.softmax(1).unsqueeze(2) * states).sum(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="sqlite:///runs/names.sqlite")
    parser.add_argument("--corpus", choices=["surnames", "20newsgroups"], default="surnames")
    parser.add_argument("--most", type=int, default=2_400, help="most texts of one kind")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    url = options.url

    Path("runs").mkdir(exist_ok=True)
    if not sa.inspect(connect(url, create=True)).has_table("texts"):
        load((surnames if options.corpus == "surnames" else newsgroups)(options.most), url)

    # The rows stay in the database: every batch is read when it is needed.
    train, test = train_test_split(TableSource("texts", url), test=0.2, seed=0, stratify="label")
    tokens = TokenizerSource("text", by="characters", end="<eos>", inputs=train)
    learn = tokens >> LabelerSource("label") >> BatchingSource(64, bucket_by="text", seed=0)
    learn = learn >> PadSource("text", max_length=LONGEST, fixed=False)
    check = test >> TokenizerSource("text", by="characters", end="<eos>", fitted=tokens)
    check = check >> BatchingSource(512) >> PadSource("text", max_length=LONGEST, fixed=False)
    labels = learn.labels["label"]

    torch.manual_seed(0)
    model = Reader(len(learn.vocabulary), len(labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(learn))
    trainer = create_trainer(
        model, optimizer, cross_entropy, inputs=["text", "text_length"], target="label",
        scheduler=scheduler, clip_norm=1.0,
    )  # fmt: skip
    trainer.run(learn, max_epochs=options.epochs)

    def predict(batch: Message) -> dict:
        with torch.no_grad():
            guessed = model(batch["text"], batch["text_length"]).argmax(1)
        return {"id": batch["id"], "guess": [labels[each] for each in guessed.tolist()]}

    # Predictions go into a second table as they are made, one transaction a batch.
    model.eval()
    predictions = check >> MapSource(predict)
    guesses = create_table("guesses", predictions.take(1), url)
    print(f"Wrote {(predictions >> WriterSource(guesses, url)).drain()} guesses to {guesses.name}")

    # The database compares them with the truth.
    texts = TableSource("texts", url).table
    is_right = sa.case((guesses.c.guess == texts.c.label, 1.0), else_=0.0)
    both = sa.select(
        texts.c.label,
        sa.func.count(type_=sa.Integer).label("texts"),
        sa.func.avg(is_right, type_=sa.Double).label("accuracy"),
    ).join(guesses, guesses.c.id == texts.c.id)
    result = QuerySource(both.group_by(texts.c.label), url).read_all()
    print(result.dataframe().to_string(index=False, float_format="{:.3f}".format))
    accuracy = (result["texts"] * result["accuracy"]).sum() / result["texts"].sum()

    # What is easy to beat, and what is not: the same rows without the order of their characters.
    seen, unseen = train.read_all(), test.read_all()
    majority = (unseen["label"] == seen["label"].mode()[0]).mean()
    bag = CountVectorizer(analyzer="char", lowercase=False)
    regression = make_pipeline(bag, LogisticRegression(max_iter=2_000))
    regression.fit(seen["text"], seen["label"])
    print(f"Always the most frequent: {majority:.3f}")
    print(f"Logistic regression on bags of characters: "
          f"{regression.score(unseen['text'], unseen['label']):.3f}")  # fmt: skip
    print(f"LSTM with attention: {accuracy:.3f}")


if __name__ == "__main__":
    main()
