"""Mistakes in what is read, measured and searched."""

from __future__ import annotations

STSB = "task=stsb task.path={tmp}/stsb objectives=[quality]"
ROWS = [
    ("seed=" + 90 * "9", "seed must be an integer in [0, 4294967295], got " + 80 * "9" + "…"),
    ("~seed", "seed must be an integer in [0, 4294967295], got None"),
    ("device=cuda", "device=cuda: torch"),
    ("device.threads=0", "device.threads must be > 0 or null, got 0"),
    ("device.threads=4096", "device.threads must be at most"),
    ("device.benchmark.shapes=[]", "device.benchmark.shapes must be a list of one or more, got []"),
    ("device.benchmark.shapes=[[1]]", "device.benchmark.shapes[0] must be a list of 2"),
    ("device.benchmark.shapes=[[1,1000]]", "has length 1000, the teacher takes at most 512"),
    (  # RoBERTa counts positions from behind the number of its padding
        "teacher.architecture=roberta device.benchmark.shapes=[[1,512]]",
        "has length 512, the teacher takes at most 511",
    ),
    ("task.source=web", "task.source must be one of offline, hub; got web"),
    ("task.limit=0", "task.limit must be > 0 or null, got 0"),
    ("task.max_length=long", "task.max_length must be an integer, got 'long'"),
    ("task.max_length=513", "task.max_length must be at most the 512 tokens that BertFor"),
    ("task.seed=-1", "task.seed must be in [0, 4294967295], got -1"),
    ("task.seed=4294967296", "task.seed must be in [0, 4294967295], got 42949672"),
    ("task.limit=1" + 30 * "0", "task.limit must be an integer of 64 bits, got 1000000"),
    ("device.benchmark.seconds=nan", "device.benchmark.seconds must be > 0, got nan"),
    ("device.benchmark.seconds=inf", "device.benchmark.seconds must be > 0, got inf"),
    ("device.benchmark.seconds=1" + 400 * "0", "device.benchmark.seconds must be > 0, got 100000"),
    ("teacher.finetune.epochs=1e400", "teacher.finetune.epochs must be >= 0, got inf"),
    ("task=rte task.corpus=snli", "task.corpus must be one of sst2, cola, mrpc, qqp, rte, qnli"),
    ("task=sst2 task.path={tmp}/empty", "train.tsv does not exist; expected train.tsv and dev.tsv"),
    ("task=sst2 task.path={tmp}/csv", "has columns text,label; expected sentence, label"),
    ("task=csv", "task: Missing mandatory value: task.path"),
    ("task=csv task.path={tmp}/none.csv", "none.csv does not exist or is not a file"),
    ("task=csv task.path={tmp}/mine.csv task.label=x", "column 'x' is not among its columns: text"),
    (
        "task=csv task.path={tmp}/mine.csv task.split.folds=1",
        "task.split.folds must be in [2, 10000] or null, got 1",
    ),
    (
        "task=csv task.path={tmp}/mine.csv task.split.fold=2",
        "task.split.fold must be null without folds, got 2",
    ),
    (
        "task=digits task.split.folds=3 task.split.fold=4",
        "task.split.fold must be from 1 to the 3 folds, got 4",
    ),
    (
        "task=csv task.path={tmp}/mine.csv task.split.folds=5 "
        "task.split.evaluation_path={tmp}/mine.csv",
        "task.split.folds and evaluation_path exclude each other, got 5 and ",
    ),
    ("task=csv task.path={tmp}/mine.csv task.drop=[all]", "one of empty, unlabeled, duplicates"),
    ("task=csv task.path={tmp}/mine.csv task.problem=ranking", "must be classification, "),
    ("task=csv task.path={tmp}/mine.csv task.label=[a,b]", "column 'a' is not among its columns"),
    ("task=csv task.path={tmp}/mine.csv task.label=[a]", "or a list of two or more, got a list of"),
    ("task=csv task.path={tmp}/mine.csv task.class_weights=even", "must be balanced, a list of nu"),
    ("task=stsb task.path={tmp}/csv", "has columns text,label; expected sentence1, sentence2, sc"),
    (STSB + " objectives=[accuracy]", "but the task's scores are spearman, pearson, rmse"),
    (
        STSB + " student=layers student.distillation.label_smoothing=0.1",
        "student.distillation.label_smoothing must be 0, as the labels of Glue are numbers",
    ),
    (
        STSB + " pruner=wanda pruner.recovery.label_smoothing=0.1",
        "pruner.recovery.label_smoothing must be 0, as the labels of Glue are numbers",
    ),
    (STSB + " pruner=chain pruner.recovery.label_smoothing=0.1", "the labels of Glue are numbers;"),
    (
        STSB + " student=layers student.distillation.logit_mse=0.1",
        "student.distillation.logit_mse must be 0, as Glue is no classification; got 0.1",
    ),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki pruner=wanda pruner.recovery.logit_mse=0.1",
        "pruner.recovery.logit_mse must be 0, as WikiText2 is no classification; got 0.1",
    ),
    (
        "task/transfer=review",
        "task/transfer=review is not available; did you mean task/transfer=reviews?",
    ),
    (
        "task=digits +task/transfer=reviews",
        "task (Digits) has no setting transfer; its set",
    ),
    ("task=digits task/transfer=reviews", "task/transfer"),
    ("student=layers task/transfer=textfile", "task: Missing mandatory value: task.transfer.path"),
    (
        "student=layers task/transfer=textfile task.transfer.path={tmp}/none.txt",
        "none.txt does not exist or is not a file",
    ),
    (
        "student=layers task/transfer=csv task.transfer.path={tmp}/mine.csv task.transfer.text=x",
        "mine.csv: column 'x' is not among its columns: text, label",
    ),
    (
        "student=layers task/transfer=csv task.transfer.path={tmp}/mine.csv task.transfer.text=[]",
        "task.transfer.text must be one or two columns, got none",
    ),
    (
        "student=layers task/transfer=reviews task.transfer.max_words=2",
        "task.transfer.max_words must be at least min_words=3 or null, got 2",
    ),
    (
        "student=layers task/transfer=reviews task.transfer.limit=0",
        "task.transfer.limit must be > 0 or null, got 0",
    ),
    (
        STSB + " student=layers task/transfer=reviews",
        "task.transfer must be text pairs as the task's rows are, got single texts; csv and hub",
    ),
    (
        "student=layers task/transfer=csv task.transfer.path={tmp}/mine.csv "
        "task.transfer.text=[text,label]",
        "task.transfer must be single texts as the task's rows are, got text pairs",
    ),
    (
        "task/transfer=reviews student=layers student.distillation.alpha=0",
        "student.distillation.alpha must be above 0 with transfer text, which has no labels to",
    ),
    (
        "task/transfer=reviews student=layers pruner=wanda pruner.recovery.epochs=1 "
        "pruner.recovery.alpha=0",
        "pruner.recovery.alpha must be above 0 with transfer text, which has no labels to learn",
    ),
    ("task/transfer=reviews pruner=wanda", "task/transfer must be none without a student or reco"),
    ("task=digits", "the task Digits has images, but BertForSequenceClassification reads texts"),
    ("task=cifar10 task.path={tmp}/c.npz", "c.npz does not exist or is not a file"),
    ("task=imagefolder task.path={tmp}/none", "none is not a directory"),
    ("task=wikitext2", "must be one of gpt2, llama, opt, gpt_neox for a language model, got bert"),
    ("task=wikitext2 {llama} task.path={tmp}", "train.txt does not exist or is not a file"),
    ("task=wikitext2 {llama} task.context=1", "task.context must be >= 2 or null, got 1"),
    ("task=wikitext2 {llama} task.limit=1", "task.limit must be >= 2 or null, got 1"),
    ("task=wikitext2 {llama} task.context=8 task.stride=9", "must be at most context=8, got 9"),
    (
        "task=wikitext2 {llama} task.context=513",
        "task.context must be at most the 512 tokens that LlamaForC",
    ),
    ("task=wikitext2 {llama} objectives=[accuracy]", "the task's scores are perplexity, bits_per"),
    ("task=textfile {llama}", "task: Missing mandatory value: task.path"),
    ("task=textfile {llama} task.path={tmp}/none.txt", "none.txt does not exist or is not a file"),
    ("task=textfile {llama} task.path=[]", "task.path must be a file or several, got none"),
    (
        "task=textfile {llama} task.path=a task.split.evaluation_fraction=0.95",
        "must leave rows to train",
    ),
    (
        "task=last_word task.path={tmp}/mine.csv",
        "gpt2, llama, opt, gpt_neox for a language model, got",
    ),
    ("task=last_word {llama} task.path={tmp}/none.csv", "none.csv does not exist or is not a file"),
    (
        "task=last_word {llama} task.path={tmp}/mine.csv task.text=x",
        "column 'x' is not among its c",
    ),
    ("task=conll", "task: Missing mandatory value: task.path"),
    ("task=conll task.path={tmp}/none.conll", "none.conll does not exist or is not a file"),
    ("task=conll task.path={tmp}/mine.csv", "mine.csv ends in .csv; allowed: .conll, .iob, "),
    ("task=conll task.path=x task.columns=[0]", "task.columns must be a list of 2"),
    ("task=conll task.path={tmp}/tags.conll task.max_length=513", "must be at most the 512 tokens"),
    ("task=conll task.path={tmp}/tags.conll teacher=vit_scratch", "the task needs a token_classif"),
    (
        "task=conll task.path={tmp}/tags.conll objectives=[accuracy]",
        "the task's scores are entity_f1, entity_precision",
    ),
    (
        "task=conll task.path={tmp}/tags.conll student=layers +student/augmentation=neighbors",
        "Neighbors augments rows of texts, but BertForTokenClassification",
    ),
    ("task=sts", "task: Missing mandatory value: task.path"),
    ("task=sts task.path={tmp}/none.csv", "none.csv does not exist or is not a file"),
    ("task=sts task.path={tmp}/mine.csv", "column 'sentence1' is not among its columns: text, lab"),
    (
        "task=sts task.path={tmp}/pairs.csv task.pooling=sum",
        "task.pooling must be cls, max, mean, mean",
    ),
    ("task=sts task.path={tmp}/pairs.csv task.vectors=int4", "task.vectors must be one of float32"),
    (
        "task=sts task.path={tmp}/pairs.csv task.dimension=400",
        "task.dimension must be at most the ",
    ),
    ("task=sts task.path={tmp}/pairs.csv task.highest=0", "task.highest must be > 0, got 0"),
    ("task=sts task.path={tmp}/pairs.csv task.text=[a]", "task.text must be a list of 2"),
    ("task=sts task.path={tmp}/pairs.csv teacher=vit_scratch", "the task needs an embedder"),
    (
        "task=sts task.path={tmp}/pairs.csv student=layers student.distillation.logit_mse=1",
        "student.distillation.logit_mse must be 0, as Sts is no classification",
    ),
    ("task=sts task.path={tmp}/pairs.csv objectives=[rmse]", "the task's scores are spearman, pea"),
    ("task=retrieval task.path={tmp}/none", "needs one file corpus (.csv, .tsv, .txt, .jsonl, .nd"),
    (
        "task=retrieval task.path={tmp}/beir task.likeness=l2",
        "task.likeness must be one of cosine,",
    ),
    ("task=retrieval task.path={tmp}/beir task.prefixes=[a]", "task.prefixes must be a list of 2"),
    (
        "task=retrieval task.path={tmp}/beir teacher.finetune.patience=1",
        "teacher.finetune.patience must be null, as the validation rows of Beir have no loss",
    ),
    (
        "task=retrieval task.path={tmp}/beir task.learn_documents=true",
        "task.learn_documents must be false without a student",
    ),
    (
        "task=rerank task.path={tmp}/mine.csv",
        "column 'query' is not among its columns: text, label",
    ),
    ("task=rerank task.path=x task.query=relevance", "must be three columns, got relevance, docum"),
    ("task=lm_eval {llama} task.name={tmp}/none.yaml", "none.yaml"),
    ("task=lm_eval {llama} task.name=x task.path={tmp}/none", "none is not a directory"),
    ("task=multiple_choice {llama} task.path={tmp}/mine.csv", "column 'question' is not among its"),
    (
        "task=multiple_choice {llama} task.path=x task.endings=[a]",
        "task.endings must be a list of 2 or more, got ['a']",
    ),
    (
        "task=last_word {llama} task.path={tmp}/mine.csv task.max_length=513",
        "task.max_length must be at most the 512 tokens that LlamaForC",
    ),
    ("task=wikitext2 {llama} task.path={tmp}/wiki pruner=vocabulary", "predicts other tokens than"),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki student=pretrained student.path={tmp}/lm",
        "a student that is a language model needs the teacher's tokens, got 50 of them over 1000",
    ),
    (
        "task=wikitext2 {llama} task.path={tmp}/wiki device.benchmark.generation.prompt=500",
        "device.benchmark.generation has 500 + 64 tokens, the teacher takes at most 512",
    ),
    (
        "device.benchmark.generation.new_tokens=1",
        "device.benchmark.generation.new_tokens must be >= 2, got 1",
    ),
    ("task=wikitext2 teacher=vit_scratch", "classifies images, the task needs a language_model"),
    ("teacher=vit_scratch", "the task Reviews has texts, but ViTForImageClassification reads ima"),
    ("teacher=vit_base", "google/vit-base-patch16-224 not found"),
    ("cache=maybe", "cache=maybe is not available; choices: off, on"),
    ("tracker=comet", "tracker=comet is not available; choices:"),
    ("tracker=mlflow tracker.uri=mlruns", "tracker.uri must be of a server or a database"),
]
