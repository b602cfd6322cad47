"""Features for other tools: .npy with ids, Parquet, Ducho's folder of files, RecBole's file."""
