"""LeRobot's datasets, v2 and v3: tables in Parquet files, pictures in videos or in the tables.

Source: lerobot 0.3.3 writes v2.1, lerobot 0.4.4 writes v3.0.
"""
