using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using MessagePack;
using MessagePack.Formatters;

namespace Yarnish.Serialization;

/// <summary>
/// Writes an object as the array of its fields, private and inherited ones included. Names are not written: driver and executors run the same files. The code is made
/// once for each type, as dynamic methods that may see private members and set read-only fields.
/// </summary>
internal sealed class FieldFormatter<T> : IMessagePackFormatter<T>
{
    private delegate void WriteFields(ref MessagePackWriter writer, T value, MessagePackSerializerOptions options);

    private delegate T ReadFields(ref MessagePackReader reader, MessagePackSerializerOptions options);

    private readonly FieldInfo[] fields = InstanceFields.Of(typeof(T));
    private readonly WriteFields write;
    private readonly ReadFields read;

    public FieldFormatter()
        : this(RuntimeFeature.IsDynamicCodeSupported)
    {
    }

    /// <param name="compiled">False where the runtime makes no code, as in file-based programs unless told otherwise: reflection does the same, slower.</param>
    internal FieldFormatter(bool compiled)
    {
        if (compiled)
        {
            write = CompileWrite(fields);
            read = CompileRead(fields);
            return;
        }

        var values = Array.ConvertAll(fields, static field => (ReflectedField)Activator.CreateInstance(typeof(ReflectedField<>).MakeGenericType(field.FieldType), field)!);
        write = (ref MessagePackWriter writer, T value, MessagePackSerializerOptions options) =>
        {
            object owner = value!;
            foreach (var field in values)
            {
                field.Write(ref writer, owner, options);
            }
        };
        read = (ref MessagePackReader reader, MessagePackSerializerOptions options) =>
        {
            var owner = RuntimeHelpers.GetUninitializedObject(typeof(T));
            foreach (var field in values)
            {
                field.Read(ref reader, owner, options);
            }

            return (T)owner;
        };
    }

    public void Serialize(ref MessagePackWriter writer, T value, MessagePackSerializerOptions options)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (typeof(T).IsValueType)
        {
            // First, so that a struct is never boxed by the questions below.
        }
        else if (value is null)
        {
            writer.WriteNil();
            return;
        }
        else if (value.GetType() != typeof(T))
        {
            throw new RowTypeException(
                $"A row or member of type {TypeNames.Of(typeof(T))} holds a {TypeNames.Of(value.GetType())}: only the fields of {TypeNames.Of(typeof(T))} would arrive. "
                + $"Use {TypeNames.Of(value.GetType())} itself as the type, or one type with a field that tells the cases apart, or MessagePack's [Union] on {TypeNames.Of(typeof(T))}.");
        }

        writer.WriteArrayHeader(fields.Length);
        write(ref writer, value, options);
    }

    public T Deserialize(ref MessagePackReader reader, MessagePackSerializerOptions options)
    {
        if (!typeof(T).IsValueType && reader.TryReadNil())
        {
            return default!;
        }

        RuntimeHelpers.EnsureSufficientExecutionStack();
        FieldValue.Expect(ref reader, fields.Length);
        return read(ref reader, options);
    }

    private static WriteFields CompileWrite(FieldInfo[] fields)
    {
        var method = new DynamicMethod(
            $"Write {typeof(T).Name}", typeof(void), [typeof(MessagePackWriter).MakeByRefType(), typeof(T), typeof(MessagePackSerializerOptions)], typeof(FieldFormatter<T>).Module, skipVisibility: true);
        var code = method.GetILGenerator();
        foreach (var field in fields)
        {
            code.Emit(OpCodes.Ldarg_0);
            if (typeof(T).IsValueType)
            {
                code.Emit(OpCodes.Ldarga_S, (byte)1);
            }
            else
            {
                code.Emit(OpCodes.Ldarg_1);
            }

            code.Emit(OpCodes.Ldfld, field);
            code.Emit(OpCodes.Ldarg_2);
            code.Emit(OpCodes.Call, FieldValue.WriteMethod.MakeGenericMethod(field.FieldType));
        }

        code.Emit(OpCodes.Ret);
        return method.CreateDelegate<WriteFields>();
    }

    private static ReadFields CompileRead(FieldInfo[] fields)
    {
        var method = new DynamicMethod(
            $"Read {typeof(T).Name}", typeof(T), [typeof(MessagePackReader).MakeByRefType(), typeof(MessagePackSerializerOptions)], typeof(FieldFormatter<T>).Module, skipVisibility: true);
        var code = method.GetILGenerator();
        var value = code.DeclareLocal(typeof(T));
        if (typeof(T).IsValueType)
        {
            code.Emit(OpCodes.Ldloca, value);
            code.Emit(OpCodes.Initobj, typeof(T));
        }
        else
        {
            code.Emit(OpCodes.Ldtoken, typeof(T));
            code.Emit(OpCodes.Call, typeof(Type).GetMethod(nameof(Type.GetTypeFromHandle))!);
            code.Emit(OpCodes.Call, typeof(RuntimeHelpers).GetMethod(nameof(RuntimeHelpers.GetUninitializedObject))!);
            code.Emit(OpCodes.Castclass, typeof(T));
            code.Emit(OpCodes.Stloc, value);
        }

        foreach (var field in fields)
        {
            code.Emit(typeof(T).IsValueType ? OpCodes.Ldloca : OpCodes.Ldloc, value);
            code.Emit(OpCodes.Ldarg_0);
            code.Emit(OpCodes.Ldarg_1);
            code.Emit(OpCodes.Call, FieldValue.ReadMethod.MakeGenericMethod(field.FieldType));
            code.Emit(OpCodes.Stfld, field);
        }

        code.Emit(OpCodes.Ldloc, value);
        code.Emit(OpCodes.Ret);
        return method.CreateDelegate<ReadFields>();
    }
}

/// <summary>Reads and writes one field by reflection.</summary>
internal abstract class ReflectedField
{
    public abstract void Write(ref MessagePackWriter writer, object owner, MessagePackSerializerOptions options);

    public abstract void Read(ref MessagePackReader reader, object owner, MessagePackSerializerOptions options);
}

internal sealed class ReflectedField<TField>(FieldInfo field) : ReflectedField
{
    public override void Write(ref MessagePackWriter writer, object owner, MessagePackSerializerOptions options) => FieldValue.Write(ref writer, (TField)field.GetValue(owner)!, options);

    public override void Read(ref MessagePackReader reader, object owner, MessagePackSerializerOptions options) => field.SetValue(owner, FieldValue.Read<TField>(ref reader, options));
}
