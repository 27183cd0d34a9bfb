SELECT topic, item, n, message, (SELECT count(*) FROM images WHERE dataset = 'mimic_cxr') AS images
FROM build_notes WHERE topic = 'twin_file'
