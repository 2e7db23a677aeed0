"""A run's events at TensorBoard, MLflow or W&B. `tracking` sends, `trackers` receives."""
